package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
)

// WatchHistories shows what the history cache does. The counts are the cache's own, read at each scrape.
func WatchHistories(registry prometheus.Registerer, histories *kvcache.Cache) error {
	count := func(name, help string, labels prometheus.Labels, of func(kvcache.Stats) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(of(histories.Stats())) })
	}
	gauge := func(name, help string, of func(kvcache.Stats) int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(of(histories.Stats())) })
	}
	collectors := []prometheus.Collector{
		count("shortlist_history_cache_evictions_total", "Encoded histories that left for want of room.", nil,
			func(s kvcache.Stats) int64 { return s.Evictions }),
		gauge("shortlist_history_cache_bytes", "Encodings that the history cache holds, in bytes.", func(s kvcache.Stats) int64 { return s.Bytes }),
		gauge("shortlist_history_cache_entries", "Encoded histories that the history cache holds, of both encoders.", func(s kvcache.Stats) int64 { return int64(s.Entries) }),
	}
	for encoder := range kvcache.Encoders {
		for outcome, of := range map[string]func(kvcache.Outcomes) int64{
			"hit":       func(n kvcache.Outcomes) int64 { return n.Hits },
			"extension": func(n kvcache.Outcomes) int64 { return n.Extensions },
			"miss":      func(n kvcache.Outcomes) int64 { return n.Misses },
			"shared":    func(n kvcache.Outcomes) int64 { return n.Shared },
		} {
			collectors = append(collectors, count("shortlist_history_encodings_total",
				"Histories that requests asked for: kept whole (hit), only new events encoded (extension), encoded whole (miss), or encoded for another request at that moment (shared).",
				prometheus.Labels{"encoder": encoder.String(), "outcome": outcome}, func(s kvcache.Stats) int64 { return of(s.Of[encoder]) }))
		}
	}
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("register history cache: %w", err)
		}
	}
	return nil
}

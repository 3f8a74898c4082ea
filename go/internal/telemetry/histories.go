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
	outcome := func(name string, of func(kvcache.Stats) int64) prometheus.Collector {
		return count("shortlist_history_encodings_total",
			"Histories that requests asked for: kept whole (hit), only new events encoded (extension), encoded whole (miss), or encoded for another request at that moment (shared).",
			prometheus.Labels{"outcome": name}, of)
	}
	for _, c := range []prometheus.Collector{
		outcome("hit", func(s kvcache.Stats) int64 { return s.Hits }),
		outcome("extension", func(s kvcache.Stats) int64 { return s.Extensions }),
		outcome("miss", func(s kvcache.Stats) int64 { return s.Misses }),
		outcome("shared", func(s kvcache.Stats) int64 { return s.Shared }),
		count("shortlist_history_cache_evictions_total", "Encoded histories that left for want of room.", nil,
			func(s kvcache.Stats) int64 { return s.Evictions }),
		gauge("shortlist_history_cache_bytes", "Keys and values that the history cache holds.", func(s kvcache.Stats) int64 { return s.Bytes }),
		gauge("shortlist_history_cache_entries", "Encoded histories that the history cache holds.", func(s kvcache.Stats) int64 { return int64(s.Entries) }),
	} {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("register history cache: %w", err)
		}
	}
	return nil
}

package telemetry

import (
	"context"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

func TestWatchHistories(t *testing.T) {
	t.Parallel()
	histories, registry := kvcache.New(kvcache.Options{MaxBytes: 1 << 20}), prometheus.NewRegistry()
	if err := WatchHistories(registry, histories); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{5, 5, 6} { // a miss, a hit, an extension
		h := &kvcache.History{Events: n, Columns: []runtime.Tensor{runtime.Ints(make([]int64, n), 1, int64(n))}}
		call := histories.Start(t.Context(), kvcache.Sequence, h, true, func(context.Context, *kvcache.Encoding) (*kvcache.Encoding, error) {
			return &kvcache.Encoding{Events: n, Keys: make([]float32, 70*n), State: make([]float32, 10*n), Recent: make([]float32, 20*n)}, nil
		})
		if _, err := call.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		call.Leave()
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if bytes := got["shortlist_history_cache_bytes"]; bytes < 2400 || bytes > 4000 {
		t.Errorf("600 numbers take %g bytes", bytes)
	}
	delete(got, "shortlist_history_cache_bytes")
	want := map[string]float64{"shortlist_history_cache_entries": 1, "shortlist_history_cache_evictions_total": 0}
	for outcome, n := range map[string]float64{"hit": 1, "extension": 1, "miss": 1, "shared": 0} {
		want["shortlist_history_encodings_total sequence_encoder "+outcome] = n
		want["shortlist_history_encodings_total history_encoder "+outcome] = 0
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

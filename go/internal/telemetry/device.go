package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shortlist-serving/shortlist/go/internal/batching/dispatch"
)

// Batches shows how calls share runs of graphs. It is safe for concurrent use.
type Batches struct {
	calls *prometheus.HistogramVec
	cells *prometheus.CounterVec
}

// NewBatches registers the instruments.
func NewBatches(registry prometheus.Registerer) (*Batches, error) {
	b := &Batches{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "shortlist_batch_calls", Help: "Calls that shared one run of a graph.", Buckets: prometheus.ExponentialBuckets(1, 2, 8)},
			[]string{"graph"}),
		cells: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shortlist_batch_cells_total",
			Help: "Cells (events, candidates, or events for candidates) of shared runs, by whether a call asked for them or they are padding."},
			[]string{"graph", "kind"}),
	}
	for _, c := range []prometheus.Collector{b.calls, b.cells} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of batches: %w", err)
		}
	}
	return b, nil
}

// Ran is dispatch.Options.Observe.
func (b *Batches) Ran(r dispatch.Run) {
	b.calls.WithLabelValues(r.Graph).Observe(float64(r.Calls))
	b.cells.WithLabelValues(r.Graph, "used").Add(float64(r.Used))
	b.cells.WithLabelValues(r.Graph, "padding").Add(float64(r.Cells - r.Used))
}

// WatchDevice shows what became of the GPU's sessions.
func WatchDevice(registry prometheus.Registerer, quarantined, spareRuns func() float64) error {
	for _, c := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "shortlist_device_quarantined", Help: "Graphs of loaded releases that the GPU does not run any more, after a fault."}, quarantined),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "shortlist_device_spare_runs_total", Help: "Runs that the CPU took over from a failed GPU."}, spareRuns),
	} {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("register metrics of the device: %w", err)
		}
	}
	return nil
}

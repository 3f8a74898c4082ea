package telemetry

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// other stands for a label value outside its closed set.
const other = "other"

var (
	stages = []string{rank.StageRetrieval, rank.StagePreranking, rank.StageRanking, rank.StageBlending}
	drops  = []string{rank.DropUnknownItem, rank.DropDuplicate, rank.DropSeen, rank.DropUnavailable, rank.DropFilter}
)

// Metrics are the instruments of the server. Its methods are safe for concurrent use.
type Metrics struct {
	calls     *prometheus.CounterVec
	inFlight  prometheus.Gauge
	latency   *prometheus.HistogramVec
	stage     *prometheus.HistogramVec
	items     *prometheus.CounterVec
	answers   *prometheus.CounterVec
	degraded  *prometheus.CounterVec
	dropped   *prometheus.CounterVec
	recovered prometheus.Counter
	release   *prometheus.GaugeVec
	provider  *prometheus.GaugeVec
	reasons   []string

	mu     sync.Mutex
	active string // guarded by mu: the release that the gauge shows
}

// NewMetrics registers the instruments. reasons is the closed set of degradation reasons.
func NewMetrics(registry prometheus.Registerer, reasons []string) (*Metrics, error) {
	// 100 us to 13 s by factors of two: one ranking of 1,000 candidates lies in the middle.
	buckets := prometheus.ExponentialBuckets(1e-4, 2, 18)
	m := &Metrics{
		reasons: reasons,
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shortlist_calls_total", Help: "Finished calls by method and gRPC code; ResourceExhausted is shed load."},
			[]string{"method", "code"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shortlist_calls_in_flight", Help: "Calls that are being answered."}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "shortlist_call_seconds", Help: "Time from the headers of a call to its response or status.", Buckets: buckets},
			[]string{"method"}),
		stage: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "shortlist_stage_seconds", Help: "Time of one stage of the funnel.", Buckets: buckets},
			[]string{"stage"}),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shortlist_stage_items_total", Help: "Items that left a stage."}, []string{"stage"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shortlist_answers_total", Help: "Answers by the rung of the ladder that they come from."}, []string{"rung"}),
		degraded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shortlist_degraded_total", Help: "Degradations by the rung of the answer and the reason."},
			[]string{"rung", "reason"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shortlist_dropped_total", Help: "Candidates that left for a reason other than a cut."}, []string{"reason"}),
		recovered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shortlist_panics_total", Help: "Panics of handlers. Any is a bug."}),
		release: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "shortlist_release_info", Help: "1 for the release that is served."}, []string{"release"}),
		provider: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "shortlist_provider_info", Help: "1 for the execution provider that graphs really got."},
			[]string{"provider", "runtime"}),
	}
	all := []prometheus.Collector{
		m.calls, m.inFlight, m.latency, m.stage, m.items, m.answers, m.degraded, m.dropped, m.recovered, m.release, m.provider,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// CallStarted counts a call in.
func (m *Metrics) CallStarted() { m.inFlight.Inc() }

// CallEnded counts a call out. method and code are names of the service definition, never a client's text.
func (m *Metrics) CallEnded(method, code string, took time.Duration) {
	m.inFlight.Dec()
	m.calls.WithLabelValues(method, code).Inc()
	m.latency.WithLabelValues(method).Observe(took.Seconds())
}

// Recovered counts a panic.
func (m *Metrics) Recovered() { m.recovered.Inc() }

// Answered counts what a request went through.
func (m *Metrics) Answered(result *rank.Result) {
	for _, report := range result.Stages {
		name := known(report.Stage, stages)
		m.stage.WithLabelValues(name).Observe(float64(report.Micros) / 1e6)
		m.items.WithLabelValues(name).Add(float64(report.Out))
	}
	rung := result.Coverage.Rung.String()
	if rung == "" {
		rung = other
	}
	m.answers.WithLabelValues(rung).Inc()
	for _, d := range result.Coverage.Degradations {
		m.degraded.WithLabelValues(rung, known(d.Reason, m.reasons)).Inc()
	}
	for reason, count := range result.Dropped {
		m.dropped.WithLabelValues(known(reason, drops)).Add(float64(count))
	}
}

// Released shows the release that is now served.
func (m *Metrics) Released(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.active == id {
		return
	}
	m.release.Reset()
	m.active = id
	if id != "" {
		m.release.WithLabelValues(id).Set(1)
	}
}

// Provider shows what executes the graphs.
func (m *Metrics) Provider(name, version string) { m.provider.WithLabelValues(name, version).Set(1) }

func known(value string, set []string) string {
	if slices.Contains(set, value) {
		return value
	}
	return other
}

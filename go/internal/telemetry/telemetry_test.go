package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/shortlist-serving/shortlist/go/internal/batching/dispatch"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func page(t *testing.T, handler http.Handler, path string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	return recorder.Code, recorder.Body.String()
}

func TestMetricsHaveClosedLabels(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry, []string{"deadline"})
	if err != nil {
		t.Fatal(err)
	}
	m.CallStarted()
	m.CallEnded("Rank", "OK", time.Millisecond)
	m.Answered(&rank.Result{
		Stages:  []rank.StageReport{{Stage: rank.StageRanking, Out: 7, Micros: 1000}, {Stage: "made up"}},
		Dropped: map[string]int{rank.DropSeen: 3, "made up": 1},
		Coverage: rank.Coverage{Rung: rank.RungPrerankerOrder, Degradations: []rank.Degradation{
			{Reason: "deadline"}, {Reason: "a client's text"}}},
	})
	m.Released("r1")
	m.Released("r2")
	m.Provider("cpu", "1.31.1")
	_, text := page(t, NewHTTPServer("", registry, nil).Handler, "/metrics")
	for _, want := range []string{
		`shortlist_calls_total{code="OK",method="Rank"} 1`, "shortlist_calls_in_flight 0", `shortlist_stage_items_total{stage="ranking"} 7`,
		`shortlist_degraded_total{reason="deadline",rung="preranker_order"} 1`, `shortlist_degraded_total{reason="other",rung="preranker_order"} 1`,
		`shortlist_dropped_total{reason="seen"} 3`, `shortlist_dropped_total{reason="other"} 1`, `shortlist_release_info{release="r2"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	for _, ban := range []string{"made up", "client's text", `release="r1"`} {
		if strings.Contains(text, ban) {
			t.Errorf("the metrics hold %s", ban)
		}
	}
	if _, err := NewMetrics(registry, nil); err == nil {
		t.Error("the same registry took the metrics twice")
	}
}

func TestBatchesAndDeviceAreShown(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	batches, err := NewBatches(registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := WatchDevice(registry, func() float64 { return 2 }, func() float64 { return 7 }); err != nil {
		t.Fatal(err)
	}
	batches.Ran(dispatch.Run{Graph: "ranker", Calls: 3, Used: 75, Cells: 100})
	_, text := page(t, NewHTTPServer("", registry, nil).Handler, "/metrics")
	for _, want := range []string{
		`shortlist_batch_calls_bucket{graph="ranker",le="2"} 0`, `shortlist_batch_calls_bucket{graph="ranker",le="4"} 1`,
		`shortlist_batch_cells_total{graph="ranker",kind="used"} 75`, `shortlist_batch_cells_total{graph="ranker",kind="padding"} 25`,
		"shortlist_device_quarantined 2", "shortlist_device_spare_runs_total 7",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestSearchesHaveClosedLabels(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	searches, err := NewSearches(registry, []string{"hnsw"})
	if err != nil {
		t.Fatal(err)
	}
	searches.Took("hnsw", 15*time.Microsecond)
	searches.Took("made up", time.Second)
	_, text := page(t, NewHTTPServer("", registry, nil).Handler, "/metrics")
	for _, want := range []string{
		`shortlist_index_search_seconds_bucket{index="hnsw",le="1e-05"} 0`, `shortlist_index_search_seconds_bucket{index="hnsw",le="2e-05"} 1`,
		`shortlist_index_search_seconds_count{index="other"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if _, err := NewSearches(registry, nil); err == nil {
		t.Error("the same registry took the metrics twice")
	}
}

func TestHealthPages(t *testing.T) {
	t.Parallel()
	var notReady error
	handler := NewHTTPServer("", prometheus.NewRegistry(), func() error { return notReady }).Handler
	if code, text := page(t, handler, "/readyz"); code != 200 || text != "ready\n" {
		t.Errorf("ready: %d %q", code, text)
	}
	notReady = errors.New("no release yet")
	if code, text := page(t, handler, "/readyz"); code != 503 || !strings.Contains(text, "no release yet") {
		t.Errorf("not ready: %d %q", code, text)
	}
	if code, _ := page(t, handler, "/healthz"); code != 200 {
		t.Errorf("alive: %d", code)
	}
}

func TestNoRequestForgesALogLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	NewLogger(&out, "info").Info("call", "request_id", "x\"}\n{\"level\":\"ERROR\",\"msg\":\"forged\"}")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1 || !json.Valid([]byte(lines[0])) {
		t.Errorf("lines: %q", lines)
	}
}

func offer(s *ServedLog, text string) { s.Offer(func() []byte { return []byte(text) }) }

func newServedLog(t *testing.T, w io.Writer, o Options) (*ServedLog, *prometheus.Registry) {
	t.Helper()
	o.EnsureDefaults()
	registry := prometheus.NewRegistry()
	s, err := NewServedLog(w, o, registry, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s, registry
}

func TestServedLogWritesWhatWasOffered(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s, _ := newServedLog(t, &out, Options{})
	for i := range 100 {
		offer(s, fmt.Sprint(i))
	}
	s.Close()
	s.Close()
	offer(s, "late")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 100 || lines[99] != "99" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

// stuck blocks writers until it is closed.
type stuck struct{ open chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.open; return len(p), nil }

func TestServedLogNeverBlocks(t *testing.T) {
	t.Parallel()
	disk := stuck{make(chan struct{})}
	s, registry := newServedLog(t, disk, Options{ServedLogQueue: 4})
	var offering sync.WaitGroup
	for range 8 {
		offering.Go(func() {
			for range 100 {
				offer(s, strings.Repeat("x", 1<<16))
			}
		})
	}
	offering.Wait() // would never return, did Offer wait for the disk
	families, err := registry.Gather()
	if err != nil || families[0].GetMetric()[0].GetCounter().GetValue() < 700 {
		t.Errorf("dropped lines are not counted: %v, %v", families, err)
	}
	close(disk.open)
	s.Close()
}

func TestServedLogSamples(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s, _ := newServedLog(t, &out, Options{ServedLogSample: 0.1, ServedLogQueue: 4000})
	for range 4000 {
		offer(s, "x")
	}
	s.Close()
	if n := strings.Count(out.String(), "\n"); n < 300 || n > 500 {
		t.Errorf("%d of 4000 lines at a share of 0.1", n)
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/trace"
	"slices"
	"strings"
	"testing"
	"time"

	traces "golang.org/x/exp/trace"
	"google.golang.org/protobuf/encoding/protojson"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/rpc"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// rest is what no region holds: gRPC and the caller's side of it, passing work between goroutines, the collector.
const rest = "rest"

// callSteps are the regions of a Rank call that every release has, in the order of the call.
var callSteps = []string{
	"decode", "assemble", bundle.SequenceEncoder, bundle.HistoryEncoder, bundle.QueryEncoder, stage.RegionGather, rank.StagePreranking, bundle.Preranker,
	rank.StageRanking, bundle.Ranker, rank.StageBlending, "respond", "encode",
}

// BenchmarkSteps prints where the time of a Rank call goes, over the wire, from regions in the code and the execution
// tracer of Go. A step's time is what goroutines ran in its region, without the regions inside it and
// without waiting; on one core the steps add up to the call, but for system calls. The tracer itself costs some microseconds a call.
func BenchmarkSteps(b *testing.B) {
	models := benchModels(b)
	release, err := bundle.Load(currentRelease(b, models))
	if err != nil {
		b.Fatal(err)
	}
	s := startServer(b, "-models="+models, "-history_cache.max_bytes=0", "-telemetry.served_log=")
	sizes := []int{100, 1000, 3000}
	var columns []map[string]time.Duration
	for _, m := range sizes {
		q := benchQuery(b, release, m)
		var column map[string]time.Duration
		b.Run(fmt.Sprintf("m=%d", m), func(b *testing.B) {
			column = tracedSteps(b, s, q, func(call func()) (calls int) {
				for b.Loop() {
					call()
				}
				return b.N
			})
		})
		columns = append(columns, column)
	}
	fmt.Print(stepTable(sizes, columns))
}

// currentRelease is the folder of the release that a model's folder serves.
func currentRelease(t testing.TB, models string) string {
	t.Helper()
	id, err := os.ReadFile(filepath.Join(models, "current"))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(models, strings.TrimSpace(string(id)))
}

// tracedSteps are the mean times by step of the calls that repeat makes, and the time from end to end as "call".
func tracedSteps(t testing.TB, s *server, q *rank.Query, repeat func(call func()) (calls int)) map[string]time.Duration {
	t.Helper()
	line, err := rpc.MarshalRequest(q)
	if err != nil {
		t.Fatal(err)
	}
	request := &shortlistv1.RecommendRequest{}
	if err := protojson.Unmarshal(line, request); err != nil {
		t.Fatal(err)
	}
	client := shortlistv1.NewRankingServiceClient(s.data)
	var elapsed time.Duration
	var recorded bytes.Buffer
	if err := trace.Start(&recorded); err != nil {
		t.Fatal(err)
	}
	calls := repeat(func() {
		start := time.Now()
		answer, err := client.Rank(context.Background(), request)
		elapsed += time.Since(start)
		if err != nil || answer.GetCoverage().GetDegraded() {
			t.Errorf("%v %v", err, answer.GetCoverage())
		}
	})
	trace.Stop()
	steps, err := timeByRegion(&recorded)
	if err != nil {
		t.Fatal(err)
	}
	for name := range steps {
		steps[name] /= time.Duration(calls)
	}
	steps["call"] = elapsed / time.Duration(calls)
	return steps
}

// timeByRegion reads from a trace how long goroutines ran, calls into C included, by the innermost region.
func timeByRegion(r io.Reader) (map[string]time.Duration, error) {
	reader, err := traces.NewReader(r)
	if err != nil {
		return nil, err
	}
	type goroutine struct {
		regions []string
		since   traces.Time // when it began to run, or its region changed
		running bool
	}
	goroutines, times := map[traces.GoID]*goroutine{}, map[string]time.Duration{}
	at := func(id traces.GoID, now traces.Time) *goroutine {
		g := goroutines[id]
		if g == nil {
			g = &goroutine{regions: []string{rest}, since: now}
			goroutines[id] = g
		}
		if g.running {
			times[g.regions[len(g.regions)-1]] += now.Sub(g.since)
		}
		g.since = now
		return g
	}
	for {
		event, err := reader.ReadEvent()
		if errors.Is(err, io.EOF) {
			return times, nil
		}
		if err != nil {
			return nil, err
		}
		switch event.Kind() {
		case traces.EventRegionBegin:
			g := at(event.Goroutine(), event.Time())
			g.regions = append(g.regions, event.Region().Type)
		case traces.EventRegionEnd:
			if g := at(event.Goroutine(), event.Time()); len(g.regions) > 1 { // else it began before the trace
				g.regions = g.regions[:len(g.regions)-1]
			}
		case traces.EventStateTransition:
			if change := event.StateTransition(); change.Resource.Kind == traces.ResourceGoroutine {
				_, state := change.Goroutine()
				g := at(change.Resource.Goroutine(), event.Time())
				// Outside of regions a system call may sleep; inside it is a graph's run.
				g.running = state == traces.GoRunning || state == traces.GoSyscall && len(g.regions) > 1
			}
		}
	}
}

// stepTable is Markdown: microseconds a call by step, for each number of candidates.
func stepTable(sizes []int, columns []map[string]time.Duration) string {
	names := slices.Clone(callSteps)
	for _, column := range columns {
		for _, name := range slices.Sorted(maps.Keys(column)) {
			if !slices.Contains(append(names, rest, "call"), name) {
				names = append(names, name)
			}
		}
	}
	var out strings.Builder
	row := func(name string, cell func(i int) string) {
		fmt.Fprintf(&out, "| %s |", name)
		for i := range sizes {
			fmt.Fprintf(&out, " %s |", cell(i))
		}
		out.WriteString("\n")
	}
	row("step", func(i int) string { return fmt.Sprintf("m=%d", sizes[i]) })
	row("---", func(int) string { return "---:" })
	for _, name := range append(names, rest, "call") {
		row(name, func(i int) string { return fmt.Sprintf("%.0f", columns[i][name].Seconds()*1e6) })
	}
	return out.String()
}

// A step without its region would silently move to the rest.
func TestEveryStepOfACallIsTraced(t *testing.T) {
	release, err := bundle.Load(toy(t))
	if err != nil {
		t.Fatal(err)
	}
	candidates := release.Catalog.IDs([]int64{0, 1, 2})
	q := &rank.Query{Candidates: &candidates, Limit: 3, Time: 1_760_000_000}
	s := startServer(t)
	const calls = 3
	steps := tracedSteps(t, s, q, func(call func()) int {
		for range calls {
			call()
		}
		return calls
	})
	for _, name := range append(callSteps, rest) {
		if steps[name] <= 0 {
			t.Errorf("no time was spent on %q", name)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/loadtest"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const requests = `{"user": {"history": {"items": {"ints": ["1", "2", "3", "4"]}}}}
{"user": {"id": "u"}, "candidates": {"ints": ["2", "3"]}}
`

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func call(t *testing.T, arguments ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"shortlist-load"}, arguments...), &out, &errs)
	return code, out.String(), errs.String()
}

func good(context.Context, string, *pb.RecommendRequest) (*pb.RecommendResponse, error) {
	return loadtest.Full(3, time.Millisecond), nil
}

func read[T any](t *testing.T, path string) T {
	t.Helper()
	var value T
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestARunWritesItsReports(t *testing.T) {
	var ranks, others, candidates atomic.Int64
	address := loadtest.Start(t, func(ctx context.Context, method string, r *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		if method == "rank" {
			ranks.Add(1)
			candidates.Add(int64(len(r.GetCandidates().GetInts())))
		} else {
			others.Add(1)
		}
		return good(ctx, method, r)
	})
	out := t.TempDir()
	jsonPath, htmlPath := filepath.Join(out, "new", "r.json"), filepath.Join(out, "r.html")
	code, stdout, stderr := call(t, "-address", address, "-trace", file(t, "r.jsonl", requests), "-rate", "50,100", "-duration", "300ms", "-warmup", "100ms",
		"-calls", "rank=3,retrieve=1", "-candidates", "4", "-seed", "9", "-json", jsonPath, "-html", htmlPath, "-commit", "c0ffee", "-title", "A test")
	if code != exitOK && code != exitVoid { // a busy test machine may void the run; its report must be whole all the same
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if ranks.Load() == 0 || others.Load() == 0 || candidates.Load() != 4*ranks.Load() {
		t.Errorf("%d rank calls with %d candidates, %d others", ranks.Load(), candidates.Load(), others.Load())
	}
	r := read[report.Load](t, jsonPath)
	if len(r.Steps) != 2 || r.Seed != 9 || r.Commit != "c0ffee" || r.Settings["candidates"] != "4" || r.Steps[0].Answered == 0 {
		t.Errorf("report %+v", r.Header)
	}
	if calls := r.Steps[0].Due + r.Steps[1].Due; calls >= ranks.Load()+others.Load() {
		t.Errorf("the report counts %d of %d calls: the warm-up is not to be counted", calls, ranks.Load()+others.Load())
	}
	if !strings.Contains(stdout, "A test") || !strings.Contains(stdout, "seed 9") {
		t.Errorf("table: %s", stdout)
	}
	if page, err := os.ReadFile(htmlPath); err != nil || !bytes.Contains(page, []byte("<svg")) {
		t.Errorf("page: %v", err)
	}
}

func TestReplicasTakeCallsInTurn(t *testing.T) {
	var calls [2]atomic.Int64
	var addresses []string
	for i := range calls {
		addresses = append(addresses, loadtest.Start(t, func(ctx context.Context, method string, r *pb.RecommendRequest) (*pb.RecommendResponse, error) {
			calls[i].Add(1)
			return good(ctx, method, r)
		}))
	}
	code, _, stderr := call(t, "-address", strings.Join(addresses, ","), "-connections", "4", "-trace", file(t, "r.jsonl", requests),
		"-rate", "200", "-duration", "500ms", "-warmup", "0s")
	if code != exitOK && code != exitVoid {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	// The call before the run goes to the first.
	if a, b := calls[0].Load()-1, calls[1].Load(); b == 0 || a < b || a > b+1 {
		t.Errorf("%d and %d calls, want equal shares", a, b)
	}
	if _, err := parse([]string{"-trace", "t", "-address", "127.0.0.1:1,10.1.2.3:1"}); err == nil {
		t.Error("a replica on another machine was taken unasked")
	}
	if _, err := parse([]string{"-trace", "t", "-address", "127.0.0.1:1,127.0.0.1:2", "-connections", "1"}); err == nil {
		t.Error("one connection was taken for two replicas")
	}
}

func TestABottleneckExitsAsVoid(t *testing.T) {
	address := loadtest.Start(t, func(ctx context.Context, method string, r *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		time.Sleep(100 * time.Millisecond)
		return good(ctx, method, r)
	})
	code, stdout, _ := call(t, "-address", address, "-trace", file(t, "r.jsonl", requests), "-rate", "100", "-duration", "300ms", "-warmup", "0s", "-max-in-flight", "2")
	if code != exitVoid || !strings.Contains(stdout, "VOID") || !strings.Contains(stdout, "-max-in-flight") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

func TestEveryFaultOfTheCommandLineIsListed(t *testing.T) {
	scenario := file(t, "s.yaml", "rate: [10, 20]\nspeed: 3\nduration: soon\n")
	code, _, stderr := call(t, "-rate", "fast", "-deadline", "20m", "-arrivals", "burst", "-nonsense", "-address", "10.1.2.3:80", "-calls", "rank=0", "extra", "-connections", "0",
		"-candidates", "9..2", "-pid", "7", "-scenario", scenario)
	if code != exitUsage {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{"-rate", "-deadline", "burst", "-nonsense", "-allow-remote", "rank=0", "extra", "-connections", "9..2", "-pid is for -soak", "-bundle DIR or -trace", `"speed"`, "duration: "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the list lacks %q:\n%s", want, stderr)
		}
	}
}

func TestScenariosGiveWayToTheCommandLine(t *testing.T) {
	scenario := file(t, "s.yaml", "rate: [10, 20]\ncalls: {retrieve: 1, rank: 2}\nhistory: 0..5\nduration: 4s\nallow-remote: true\n")
	o, err := parse([]string{"-trace", "t", "-duration", "9s", "-scenario", scenario, "-address", "10.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Rates) != 2 || o.Rates[1] != 20 || o.Duration != 9*time.Second || o.Mix.Weights["rank"] != 2 || o.Mix.History.High != 5 || !o.AllowRemote {
		t.Errorf("options %+v", o)
	}
}

func TestTheTrackedScenariosParse(t *testing.T) {
	paths, err := filepath.Glob("../../../bench/scenarios/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Skip("bench/scenarios is not beside the Go module: nothing to parse")
	}
	for _, path := range paths {
		if _, err := parse([]string{"-scenario", path, "-bundle", "b", "-pid", "1"}); err != nil && !strings.Contains(err.Error(), "1 fault(s) in the command line\n  -pid is for -soak") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	code, stdout, _ := call(t, "-help")
	if code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	p := &parser{set: flag.NewFlagSet("", flag.ContinueOnError)}
	p.define(defaults())
	p.set.VisitAll(func(f *flag.Flag) {
		if !strings.Contains(stdout, "-"+f.Name+" ") {
			t.Errorf("help does not explain -%s", f.Name)
		}
	})
}

func TestOnlyLoopbackIsLoadedUnasked(t *testing.T) {
	for address, allowed := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "unix:/x": true, "0.0.0.0:1": false, "example.com:1": false, "127.0.0.1": false} {
		if got := addressFault(address, false) == ""; got != allowed {
			t.Errorf("%s: allowed %v, want %v", address, got, allowed)
		}
	}
}

func TestUnusableServersAreToldBeforeTheRun(t *testing.T) {
	trace := file(t, "r.jsonl", requests)
	refusing := loadtest.Start(t, func(context.Context, string, *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		return nil, status.Error(codes.InvalidArgument, "user.features[age]: unknown column")
	})
	code, _, stderr := call(t, "-address", refusing, "-trace", trace)
	if code != exitFailed || !strings.Contains(stderr, "the first call was refused") || !strings.Contains(stderr, "unknown column") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestASoakWatchesAProcess(t *testing.T) {
	address := loadtest.Start(t, good)
	out := filepath.Join(t.TempDir(), "s.json")
	page := filepath.Join(t.TempDir(), "s.html")
	code, stdout, stderr := call(t, "-soak", "-address", address, "-trace", file(t, "r.jsonl", requests), "-pid", strconv.Itoa(os.Getpid()), "-requests", "400", "-callers", "3",
		"-candidates", "1..4", "-history", "0..9", "-growth-limit", "10000", "-json", out, "-html", page)
	if code != exitOK || !strings.Contains(stdout, "400 of 400 calls answered") {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	s := read[report.Soak](t, out)
	if len(s.Samples) != 201 || s.FirstMB < 1 || !s.Passed || s.WarmUp != 80 || s.Process == "" {
		t.Errorf("%d samples, %.1f MB, passed %v of %q", len(s.Samples), s.FirstMB, s.Passed, s.Process)
	}
	code, _, stderr = call(t, "-soak", "-address", address, "-trace", file(t, "r.jsonl", requests), "-pid", "999999999")
	if code != exitFailed || !strings.Contains(stderr, "is process 999999999 still running?") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// Small calls are measured alone and among large ones; those that lose something by it break the promise.
func TestSmallCallsAmongLargeOnesAreJudged(t *testing.T) {
	address := loadtest.Start(t, func(_ context.Context, _ string, r *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		time.Sleep(5 * time.Millisecond)
		answer := loadtest.Full(1, 5*time.Millisecond)
		if len(r.GetCandidates().GetInts()) == 1 {
			answer.Coverage.Rung = pb.Rung_RUNG_POPULAR
		}
		return answer, nil
	})
	jsonPath := filepath.Join(t.TempDir(), "r.json")
	code, stdout, stderr := call(t, "-address", address, "-trace", file(t, "r.jsonl", requests), "-calls", "rank", "-candidates", "4", "-small", "1",
		"-rate", "0.8", "-duration", "1500ms", "-warmup", "1s", "-callers", "1", "-deadline", "5s", "-json", jsonPath)
	r := read[report.Load](t, jsonPath)
	if code != exitFailed && code != exitVoid || r.Kept() || len(r.Steps) != 3 || !strings.Contains(stdout, "small among large") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := call(t, "-trace", "t", "-small", "5", "-candidates", "3", "-rate", "2,3"); code != exitUsage || strings.Count(stderr, "-small") != 2 {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// An overload run offers multiples of the capacity that it finds, and says which promises were kept.
func TestAnOverloadRunIsJudged(t *testing.T) {
	var inside atomic.Int64
	address := loadtest.Start(t, func(ctx context.Context, method string, r *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		defer inside.Add(-1)
		if inside.Add(1) > 4 {
			return nil, status.Error(codes.ResourceExhausted, "full")
		}
		time.Sleep(20 * time.Millisecond)
		return good(ctx, method, r)
	})
	path := filepath.Join(t.TempDir(), "r.json")
	code, stdout, stderr := call(t, "-overload", "-address", address, "-trace", file(t, "r.jsonl", requests), "-rate", "0.5,2", "-duration", "1s", "-warmup", "1s", "-json", path)
	r := read[report.Load](t, path)
	if code == exitUsage || r.Capacity <= 0 || r.Capacity > 210 || len(r.Steps) != 2 || r.Steps[1].Offered != 2*r.Capacity {
		t.Fatalf("exit code %d, capacity %g, %s", code, r.Capacity, stderr)
	}
	if len(r.Verdicts) < 2 || r.Steps[1].Shed == 0 || r.Steps[1].Refusals.Count != r.Steps[1].Shed {
		t.Errorf("verdicts %+v, %d shed, refusals %+v", r.Verdicts, r.Steps[1].Shed, r.Steps[1].Refusals)
	}
	if !strings.Contains(stdout, "capacity, by a closed loop") || !strings.Contains(stdout, "2x: goodput") {
		t.Errorf("table: %s", stdout)
	}
}

package drive

import (
	"context"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/arrival"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/loadtest"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// same is a source of one recommend call.
type same struct{}

func (same) Call(uint64) trace.Call {
	return trace.Call{Kind: trace.Recommend, Request: &pb.RecommendRequest{}}
}

func hold(t *testing.T, answer loadtest.Answer, o Options, rate float64, length time.Duration) *Step {
	t.Helper()
	client := loadtest.Dial(t, loadtest.Start(t, answer))
	// The first call pays for the connection.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := client.Recommend(ctx, &pb.RecommendRequest{}); err != nil && status.Code(err) == codes.Unavailable {
		t.Fatal(err)
	}
	o.Process = arrival.Constant
	if o.Deadline == 0 {
		o.Deadline = 5 * time.Second
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 1000
	}
	return New([]pb.RankingServiceClient{client}, same{}, o).Hold(t.Context(), rate, length)
}

// A server that stops for 500 ms of 2 s keeps a quarter of the callers waiting. One caller at a time would
// have seen a single slow call; arrivals that do not wait see all of them.
func TestAStallShowsInPercentiles(t *testing.T) {
	const stall = 500 * time.Millisecond
	var once sync.Once
	var gate sync.RWMutex
	start := time.Now()
	step := hold(t, func(context.Context, string, *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		if time.Since(start) > 500*time.Millisecond {
			once.Do(func() {
				gate.Lock()
				time.Sleep(stall)
				gate.Unlock()
			})
		}
		gate.RLock()
		defer gate.RUnlock()
		return loadtest.Full(1, 0), nil
	}, Options{}, 100, 2*time.Second)
	if step.Answered != step.Due || step.Due < 150 {
		t.Fatalf("%d of %d answered", step.Answered, step.Due)
	}
	// A call that was due u into the stall waits stall - u, so the waits are uniform over 0..stall.
	if p50 := step.Latency.Quantile(0.5); p50 > 100*time.Millisecond {
		t.Errorf("p50 is %s: three quarters of the calls met no stall", p50)
	}
	if p90 := step.Latency.Quantile(0.9); p90 < 200*time.Millisecond || p90 > 600*time.Millisecond {
		t.Errorf("p90 is %s, want about 300ms: the calls that waited were left out", p90)
	}
	if longest := step.Latency.Max(); longest < stall-20*time.Millisecond {
		t.Errorf("the longest call took %s, want the stall of %s", longest, stall)
	}
	worst := step.Seconds[0].Worst
	if worst < 400*time.Millisecond {
		t.Errorf("the slowest call of the stalled second took %s", worst)
	}
}

// Latencies of 20 ms, and of 120 ms in one call of ten: the quantiles are known. The room above each is for a busy test machine.
func TestPercentilesOfAKnownDistribution(t *testing.T) {
	var n atomic.Int64
	step := hold(t, func(context.Context, string, *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		wait := 20 * time.Millisecond
		if n.Add(1)%10 == 0 {
			wait = 120 * time.Millisecond
		}
		time.Sleep(wait)
		return loadtest.Full(7, wait), nil
	}, Options{}, 100, 2*time.Second)
	for _, c := range []struct {
		q         float64
		low, high time.Duration
	}{{0.5, 20 * time.Millisecond, 90 * time.Millisecond}, {0.85, 20 * time.Millisecond, 110 * time.Millisecond}, {0.95, 120 * time.Millisecond, 300 * time.Millisecond}} {
		if got := step.Latency.Quantile(c.q); got < c.low || got > c.high {
			t.Errorf("quantile %g is %s, want %s..%s", c.q, got, c.low, c.high)
		}
	}
	if got := step.Service.Quantile(0.5); (got - 20*time.Millisecond).Abs() > 50*time.Microsecond {
		t.Errorf("the server's own median is %s, want the 20ms that it said", got)
	}
	if step.Items != 7*step.Answered || step.Rungs["full"] != step.Answered || step.Releases["r1"] != step.Answered {
		t.Errorf("items %d, rungs %v, releases %v of %d answers", step.Items, step.Rungs, step.Releases, step.Answered)
	}
	if math.Abs(step.Goodput()-100) > 5 {
		t.Errorf("goodput is %.1f/s, want 100", step.Goodput())
	}
}

func TestHistogramQuantilesAreExactToThreeDigits(t *testing.T) {
	h := NewHistogram()
	for i := 1; i <= 100000; i++ {
		h.Record(time.Duration(i) * time.Microsecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		if got, want := h.Quantile(q).Seconds(), q*0.1; math.Abs(got/want-1) > 0.001 {
			t.Errorf("quantile %g is %g s, want %g", q, got, want)
		}
	}
	h.Record(time.Hour)
	if got := h.Max(); got < slowest-time.Second || got > slowest+time.Second {
		t.Errorf("a time beyond the range counts as %s, want %s", got, slowest)
	}
}

func TestErrorsShedAndDegradedAnswersAreCountedApart(t *testing.T) {
	var n atomic.Int64
	step := hold(t, func(context.Context, string, *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		switch n.Add(1) % 4 {
		case 0:
			return nil, status.Error(codes.ResourceExhausted, "full")
		case 1:
			return nil, status.Error(codes.Internal, "bug")
		case 2:
			return &pb.RecommendResponse{ReleaseId: "r2", Coverage: &pb.Coverage{Rung: pb.Rung_RUNG_POPULAR, Degraded: true}}, nil
		}
		return loadtest.Full(1, 0), nil
	}, Options{}, 200, time.Second)
	quarter := float64(step.Due) / 4
	for _, c := range []struct {
		what string
		got  int64
	}{{"shed", step.Codes[Shed]}, {"INTERNAL", step.Codes["INTERNAL"]}, {"popular", step.Rungs["popular"]}, {"full", step.Rungs["full"]}} {
		if math.Abs(float64(c.got)-quarter) > 2 {
			t.Errorf("%s: %d, want %.0f", c.what, c.got, quarter)
		}
	}
	if step.Latency.Count() != step.Answered || step.Failure.Count() != step.Sent-step.Answered {
		t.Errorf("%d latencies of %d answers, %d of %d failures", step.Latency.Count(), step.Answered, step.Failure.Count(), step.Sent-step.Answered)
	}
	notes := strings.Join(step.Notes(), "\n")
	for _, want := range []string{"failed", "degraded", "2 releases"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes do not speak of %q: %s", want, notes)
		}
	}
}

func TestDeadlinesCountFromTheDueTime(t *testing.T) {
	step := hold(t, func(ctx context.Context, _ string, _ *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}, Options{Deadline: 50 * time.Millisecond}, 50, 300*time.Millisecond)
	if step.Codes["DEADLINE_EXCEEDED"] != step.Sent || step.Sent == 0 {
		t.Fatalf("codes %v of %d calls", step.Codes, step.Sent)
	}
	if got := step.Failure.Quantile(0.5); got < 49*time.Millisecond || got > 400*time.Millisecond {
		t.Errorf("calls failed after %s, want the deadline of 50ms", got)
	}
	if step.Goodput() != 0 {
		t.Errorf("goodput is %g", step.Goodput())
	}
}

func TestTheCapOnCallsInFlightVoidsTheStep(t *testing.T) {
	step := hold(t, func(context.Context, string, *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		time.Sleep(300 * time.Millisecond)
		return loadtest.Full(1, 0), nil
	}, Options{MaxInFlight: 3}, 100, 500*time.Millisecond)
	if step.Unsent == 0 || step.Sent+step.Unsent != step.Due {
		t.Fatalf("sent %d, unsent %d, due %d", step.Sent, step.Unsent, step.Due)
	}
	if reasons := strings.Join(step.Void(), "\n"); !strings.Contains(reasons, "-max-in-flight") {
		t.Errorf("void for %q, want the cap named", reasons)
	}
}

func TestABusyOrLateGeneratorVoidsTheStep(t *testing.T) {
	sound := &Step{Rate: 10, Length: time.Second, CPU: 0.3, Tally: newTally()}
	for range 1000 {
		sound.Latency.Record(5 * time.Millisecond)
		sound.Late.Record(100 * time.Microsecond)
	}
	if reasons := sound.Void(); len(reasons) > 0 {
		t.Errorf("a sound step is void: %v", reasons)
	}
	busy := *sound
	busy.CPU = 0.81
	if reasons := busy.Void(); len(reasons) != 1 || !strings.Contains(reasons[0], "81% of its cores") {
		t.Errorf("busy generator: %v", reasons)
	}
	for range 20 {
		sound.Late.Record(10 * time.Millisecond)
	}
	if reasons := sound.Void(); len(reasons) != 1 || !strings.Contains(reasons[0], "after they were due") {
		t.Errorf("late generator: %v", reasons)
	}
}

func TestInterruptedStepsCountWhatRan(t *testing.T) {
	client := loadtest.Dial(t, loadtest.Start(t, func(context.Context, string, *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		return loadtest.Full(1, 0), nil
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	driver := New([]pb.RankingServiceClient{client}, same{}, Options{Process: arrival.Poisson, Deadline: time.Second, MaxInFlight: 100})
	step := driver.Hold(ctx, 100, time.Minute)
	if !step.Stopped || step.Length > 2*time.Second || step.Answered == 0 {
		t.Errorf("stopped %v after %s with %d answers", step.Stopped, step.Length, step.Answered)
	}
}

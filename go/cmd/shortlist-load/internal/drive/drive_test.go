package drive

import (
	"context"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
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

// direct is a client that calls the answer without a network, so that a bubble of synctest can own the clock
// and no busy test machine can change a latency.
type direct struct {
	pb.RankingServiceClient
	answer loadtest.Answer
}

func (d direct) Recommend(ctx context.Context, r *pb.RecommendRequest, _ ...grpc.CallOption) (*pb.RecommendResponse, error) {
	return d.answer(ctx, "recommend", r)
}

func hold(t *testing.T, answer loadtest.Answer, o Options, rate float64, length time.Duration) (step *Step) {
	t.Helper()
	o.Process = arrival.Constant
	if o.Deadline == 0 {
		o.Deadline = 5 * time.Second
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 1000
	}
	synctest.Test(t, func(t *testing.T) {
		step = New([]pb.RankingServiceClient{direct{answer: answer}}, same{}, o).Hold(t.Context(), rate, length)
	})
	return step
}

// A server that stops for 500 ms of 2 s keeps a quarter of the callers waiting. One caller at a time would
// have seen a single slow call; arrivals that do not wait see all of them.
func TestAStallShowsInPercentiles(t *testing.T) {
	const from, until = 500 * time.Millisecond, 1000 * time.Millisecond
	var start time.Time
	var once sync.Once
	step := hold(t, func(context.Context, string, *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		once.Do(func() { start = time.Now().Add(-10 * time.Millisecond) }) // the first call is due 10 ms into the step
		if at := time.Since(start); at >= from && at < until {
			time.Sleep(until - at)
		}
		return loadtest.Full(1, 0), nil
	}, Options{}, 100, 2*time.Second)
	if step.Answered != 199 || step.Due != 199 {
		t.Fatalf("%d of %d answered, want 199", step.Answered, step.Due)
	}
	// A call that was due u into the stall waits 500 ms - u: 50 waits of 10, 20 .. 500 ms among 199 calls.
	for q, want := range map[float64]time.Duration{0.5: 0, 0.74: 0, 0.9: 310 * time.Millisecond, 0.99: 490 * time.Millisecond, 1: 500 * time.Millisecond} {
		if got := step.Latency.Quantile(q); (got - want).Abs() > 11*time.Millisecond {
			t.Errorf("quantile %g is %s, want about %s: calls that waited were left out", q, got, want)
		}
	}
	if step.Seconds[0].Worst != 500*time.Millisecond || step.Seconds[1].Worst > time.Millisecond {
		t.Errorf("the slowest calls of the two seconds took %s and %s", step.Seconds[0].Worst, step.Seconds[1].Worst)
	}
}

// Latencies of 20 ms, and of 120 ms in one call of ten: the quantiles are known.
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
	for q, want := range map[float64]time.Duration{0.5: 20 * time.Millisecond, 0.89: 20 * time.Millisecond, 0.95: 120 * time.Millisecond, 1: 120 * time.Millisecond} {
		if got := step.Latency.Quantile(q); (got - want).Abs() > want/1000+50*time.Microsecond {
			t.Errorf("quantile %g is %s, want %s", q, got, want)
		}
	}
	if got := step.Service.Quantile(0.5); (got - 20*time.Millisecond).Abs() > 50*time.Microsecond {
		t.Errorf("the server's own median is %s, want the 20ms that it said", got)
	}
	if step.Items != 7*step.Answered || step.Rungs["full"] != step.Answered || step.Releases["r1"] != step.Answered {
		t.Errorf("items %d, rungs %v, releases %v of %d answers", step.Items, step.Rungs, step.Releases, step.Answered)
	}
	if math.Abs(step.Goodput()-99.5) > 0.01 {
		t.Errorf("goodput is %.2f/s, want 199 answers in 2 s", step.Goodput())
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
	if got := step.Failure.Quantile(0.5); (got - 50*time.Millisecond).Abs() > time.Millisecond {
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

// A call that left late is charged to the run from its due time, and its lateness is kept apart.
func TestLatencyCountsFromTheDueTime(t *testing.T) {
	r := &recorder{tally: newTally(), deadline: 200 * time.Millisecond}
	r.record(outcome{due: 1 * time.Second, sent: 1300 * time.Millisecond, ended: 1310 * time.Millisecond, answer: loadtest.Full(1, 0)})
	if got := r.tally.Latency.Max(); (got - 310*time.Millisecond).Abs() > time.Millisecond {
		t.Errorf("latency is %s, want the 310ms since the call was due", got)
	}
	if got := r.tally.Late.Max(); (got - 300*time.Millisecond).Abs() > time.Millisecond {
		t.Errorf("lateness is %s, want 300ms", got)
	}
	if r.tally.OnTime != 0 || r.tally.Answered != 1 {
		t.Errorf("%d of %d answers were on time, want none within 200ms", r.tally.OnTime, r.tally.Answered)
	}
}

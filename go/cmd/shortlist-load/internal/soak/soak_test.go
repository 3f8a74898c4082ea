package soak

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/loadtest"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/report"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/trace"
)

// counting is a source that knows which calls were asked for.
type counting struct{ asked [1000]atomic.Int32 }

func (c *counting) Call(i uint64) trace.Call {
	c.asked[i].Add(1)
	return trace.Call{Kind: trace.Retrieve, Request: &pb.RecommendRequest{}}
}

func run(t *testing.T, ctx context.Context, memory func() (float64, error)) (*counting, *report.Soak, error) {
	t.Helper()
	client := loadtest.Dial(t, loadtest.Start(t, func(context.Context, string, *pb.RecommendRequest) (*pb.RecommendResponse, error) {
		return loadtest.Full(2, 0), nil
	}))
	source, r := &counting{}, &report.Soak{LimitMB: 10}
	err := Run(ctx, []pb.RankingServiceClient{client}, source, Options{Requests: 1000, WarmUp: 200, Callers: 5, Deadline: 5 * time.Second, Memory: memory}, r)
	return source, r, err
}

func TestEveryCallIsSentOnceAndMemorySampledInOrder(t *testing.T) {
	mb := 0.0
	source, r, err := run(t, t.Context(), func() (float64, error) { mb++; return mb, nil })
	if err != nil {
		t.Fatal(err)
	}
	for i := range source.asked {
		if n := source.asked[i].Load(); n != 1 {
			t.Fatalf("call %d was sent %d times", i, n)
		}
	}
	if r.Answered != 1000 || len(r.Samples) != 201 || r.Rungs["full"] != 1000 {
		t.Errorf("%d answered, %d samples, rungs %v", r.Answered, len(r.Samples), r.Rungs)
	}
	for i, s := range r.Samples {
		if s.Requests != int64(5*i) || s.RSSMB != float64(i+1) {
			t.Fatalf("sample %d is %+v", i, s)
		}
	}
	if r.Passed { // 1 MB for each of 160 samples after the warm-up
		t.Errorf("growth of %.0f MB passed a limit of 10", r.GrowthMB)
	}
}

func TestAProcessThatEndsStopsTheRun(t *testing.T) {
	gone := errors.New("gone")
	reads := 0
	_, r, err := run(t, t.Context(), func() (float64, error) {
		if reads++; reads > 3 {
			return 0, gone
		}
		return 1, nil
	})
	if !errors.Is(err, gone) || r.Requests >= 1000 {
		t.Errorf("after %d requests: %v", r.Requests, err)
	}
}

func TestAnInterruptedRunReportsWhatRan(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context()) // a signal comes with a cause of its own
	reads := 0
	_, r, err := run(t, ctx, func() (float64, error) {
		if reads++; reads == 10 {
			cancel(errors.New("terminated"))
		}
		return 1, nil
	})
	if err != nil || r.Requests >= 1000 || r.Passed || len(r.Reasons) == 0 {
		t.Errorf("%d requests, passed %v, %v", r.Requests, r.Passed, err)
	}
}

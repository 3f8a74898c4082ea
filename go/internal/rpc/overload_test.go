package rpc

import (
	"context"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// A shed call says on the wire when to come back.
func TestShedCallsCarryRetryInfo(t *testing.T) {
	t.Parallel()
	var gate *batching.Gate
	w := newWorld(t, Options{}, func(d *Deps) { gate = d.Gate })
	var err error
	for err == nil { // the reserve for little requests too
		var leave func()
		if leave, err = gate.Enter(rank.WithBudget(t.Context(), rank.NewBudget(time.Time{}, gate.Stats().Limit/8, rank.Critical))); err == nil {
			defer leave()
		}
	}
	_, err = shortlistv1.NewRankingServiceClient(w.data).Recommend(t.Context(), &shortlistv1.RecommendRequest{})
	s := status.Convert(err)
	if s.Code() != codes.ResourceExhausted {
		t.Fatalf("status: %v", s)
	}
	for _, detail := range s.Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			if delay := retry.GetRetryDelay().AsDuration(); delay < 10*time.Millisecond || delay > 5*time.Second {
				t.Errorf("come back after %s", delay)
			}
			return
		}
	}
	t.Errorf("no RetryInfo in %v", s.Details())
}

func TestTenantComesFromMetadata(t *testing.T) {
	t.Parallel()
	long := string(make([]byte, 100))
	for sent, want := range map[string]string{"search": "search", "": "", long: long[:maxTenant]} {
		ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs(tenantKey, sent))
		if got := tenantOf(ctx); got != want {
			t.Errorf("tenant %q, want %q", got, want)
		}
	}
	if got := tenantOf(context.Background()); got != "" {
		t.Errorf("without metadata the tenant is %q", got)
	}
}

// The debug block forces a rung, for authorised callers, and the answer says so.
func TestDebugForcesARung(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Debug: DebugOptions{AllowAll: true}}, nil)
	client := shortlistv1.NewRankingServiceClient(w.data)
	in := &shortlistv1.RecommendRequest{Debug: &shortlistv1.Debug{ForceRung: shortlistv1.Rung_RUNG_PRERANKER_ORDER}}
	answer, err := client.Recommend(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	coverage := answer.GetCoverage()
	if coverage.GetRung() != in.GetDebug().GetForceRung() || !coverage.GetDegraded() || coverage.GetDegradations()[0].GetReason() != "forced" {
		t.Errorf("coverage: %v", coverage)
	}
	in.Debug.ForceRung = 99
	if _, err := client.Recommend(t.Context(), in); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a rung that is none gives %v", err)
	}
}

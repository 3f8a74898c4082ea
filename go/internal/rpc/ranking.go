package rpc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"runtime/trace"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

type rankingServer struct {
	shortlistv1.UnimplementedRankingServiceServer
	opts *Options
	deps Deps
}

func (s *rankingServer) Recommend(ctx context.Context, in *shortlistv1.RecommendRequest) (*shortlistv1.RecommendResponse, error) {
	return s.answer(ctx, in, rank.Recommend)
}

func (s *rankingServer) Retrieve(ctx context.Context, in *shortlistv1.RecommendRequest) (*shortlistv1.RecommendResponse, error) {
	return s.answer(ctx, in, rank.Retrieve)
}

func (s *rankingServer) Rank(ctx context.Context, in *shortlistv1.RecommendRequest) (*shortlistv1.RecommendResponse, error) {
	return s.answer(ctx, in, rank.Rank)
}

// BatchRecommend answers each request as Recommend would; the gate and the pool decide how many run at once.
func (s *rankingServer) BatchRecommend(ctx context.Context, in *shortlistv1.BatchRecommendRequest) (*shortlistv1.BatchRecommendResponse, error) {
	requests := in.GetRequests()
	var faults rank.Faults
	if len(requests) > s.opts.MaxBatch {
		faults.Add("requests", rank.ReasonTooLarge, fmt.Sprintf("there are %d where %d are allowed", len(requests), s.opts.MaxBatch), "send fewer")
		return nil, faults.Err()
	}
	out := &shortlistv1.BatchRecommendResponse{Results: make([]*shortlistv1.BatchRecommendResult, len(requests))}
	var group errgroup.Group
	group.SetLimit(max(2*s.deps.Pool.Workers(), 2))
	for i, request := range requests {
		group.Go(func() error {
			out.Results[i] = s.one(ctx, request)
			return nil
		})
	}
	_ = group.Wait()
	return out, nil
}

// one answers a request of a batch. It runs on a goroutine of its own, so it catches its own panics.
func (s *rankingServer) one(ctx context.Context, in *shortlistv1.RecommendRequest) (result *shortlistv1.BatchRecommendResult) {
	defer func() {
		if p := recover(); p != nil {
			s.deps.Observer.Recovered()
			s.deps.Logger.Error("a request of a batch panicked", "panic", fmt.Sprint(p))
			result = batchError(fmt.Errorf("panic: %v", p))
		}
	}()
	response, err := s.answer(ctx, in, rank.Recommend)
	if err != nil {
		return batchError(err)
	}
	return &shortlistv1.BatchRecommendResult{Result: &shortlistv1.BatchRecommendResult_Response{Response: response}}
}

func batchError(err error) *shortlistv1.BatchRecommendResult {
	s := asStatus(err)
	return &shortlistv1.BatchRecommendResult{Result: &shortlistv1.BatchRecommendResult_Error{
		Error: &shortlistv1.BatchError{Code: int32(s.Code()), Message: s.Message()}}}
}

func (s *rankingServer) answer(ctx context.Context, in *shortlistv1.RecommendRequest, mode rank.Mode) (*shortlistv1.RecommendResponse, error) {
	start := time.Now()
	if in.GetDebug() != nil && !s.mayDebug(ctx) {
		return nil, rank.ErrDebugNotAllowed
	}
	region := trace.StartRegion(ctx, regionDecode)
	c := newConverter(s.opts)
	q := c.query(in, mode)
	region.End()
	q.Tenant = tenantOf(ctx)
	if c.faults.Err() != nil {
		// The faults against the release belong into the same list.
		_ = c.faults.Merge(s.deps.Funnel.Check(ctx, q))
		return nil, c.faults.Err()
	}
	if q.RequestID == "" {
		q.RequestID = newRequestID()
	}
	result, err := s.deps.Funnel.Answer(ctx, q)
	if err != nil {
		return nil, err
	}
	s.deps.Observer.Answered(result)
	defer trace.StartRegion(ctx, regionEncode).End()
	out := response(q.RequestID, result)
	out.Micros = uint64(time.Since(start).Microseconds())
	return out, nil
}

// mayDebug says whether the caller sent the debug token. The comparison takes the same time for every wrong token.
func (s *rankingServer) mayDebug(ctx context.Context) bool {
	if s.opts.Debug.AllowAll {
		return true
	}
	if s.opts.Debug.Token == "" {
		return false
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for _, sent := range md.Get("authorization") {
		if subtle.ConstantTimeCompare([]byte(sent), []byte("Bearer "+s.opts.Debug.Token)) == 1 {
			return true
		}
	}
	return false
}

// tenantKey is the metadata by which callers say for whom they ask. Tenants share a busy server fairly.
const tenantKey = "shortlist-tenant"

// maxTenant bounds a tenant's name in bytes; a longer one is cut.
const maxTenant = 64

// tenantOf is who the call is for, "" where the caller does not say. It is a hint for fairness, not a
// right: nothing authenticates it here.
func tenantOf(ctx context.Context) string {
	if sent := metadata.ValueFromIncomingContext(ctx, tenantKey); len(sent) > 0 {
		return sent[0][:min(len(sent[0]), maxTenant)]
	}
	return ""
}

func newRequestID() string {
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return hex.EncodeToString(id[:])
}

// ParseRequest reads the JSON of a RecommendRequest, as golden and warm-up files hold them: Rank where
// candidates are set, else Recommend.
func ParseRequest(line []byte) (*rank.Query, error) {
	in := &shortlistv1.RecommendRequest{}
	if err := protojson.Unmarshal(line, in); err != nil {
		return nil, fmt.Errorf("parse RecommendRequest: %w", err)
	}
	mode := rank.Recommend
	if in.GetCandidates() != nil {
		mode = rank.Rank
	}
	var opts Options
	opts.EnsureDefaults()
	c := newConverter(&opts)
	q := c.query(in, mode)
	if err := c.faults.Err(); err != nil {
		return nil, fmt.Errorf("parse RecommendRequest: %w", err)
	}
	return q, nil
}

// MarshalRequest is the JSON of the RecommendRequest that would give this query.
func MarshalRequest(q *rank.Query) ([]byte, error) { return protojson.Marshal(request(q)) }

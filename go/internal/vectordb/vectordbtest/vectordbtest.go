// Package vectordbtest is a small Qdrant for tests: the calls of package vectordb over real gRPC, answered from memory by an exact
// search, with faults on demand.
package vectordbtest

import (
	"cmp"
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Server is the fake. Collections and faults may be changed at any time.
type Server struct {
	Address string

	qdrant.UnimplementedPointsServer
	mu          sync.Mutex
	collections map[string]*collection // guarded by mu
	fault       error                  // guarded by mu: of every call
	stuck       bool                   // guarded by mu: searches wait for their deadline
	deaf        bool                   // guarded by mu: searches ignore their filters
}

type collection struct {
	width  uint64
	points map[uint64]*qdrant.PointStruct
	fields map[string]bool
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: listener.Addr().String(), collections: map[string]*collection{}}
	server := grpc.NewServer()
	qdrant.RegisterPointsServer(server, s)
	qdrant.RegisterCollectionsServer(server, collections{Server: s})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// Fail makes every call fail; nil ends it.
func (s *Server) Fail(err error) { s.set(func() { s.fault = err }) }

// Hang lets searches wait for their deadline.
func (s *Server) Hang() { s.set(func() { s.stuck = true }) }

// IgnoreFilters answers searches as if they had none.
func (s *Server) IgnoreFilters() { s.set(func() { s.deaf = true }) }

// Remove takes points out of a collection.
func (s *Server) Remove(name string, rows ...uint64) {
	s.set(func() {
		for _, row := range rows {
			delete(s.collections[name].points, row)
		}
	})
}

// Points is how many points a collection has, and how many of its keys are indexed; -1 where there is no collection.
func (s *Server) Points(name string) (points, indexed int) {
	points = -1
	s.set(func() {
		if c := s.collections[name]; c != nil {
			points, indexed = len(c.points), len(c.fields)
		}
	})
	return points, indexed
}

func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// in finds a collection. The caller holds the mutex.
func (s *Server) in(name string) (*collection, error) {
	if s.fault != nil {
		return nil, s.fault
	}
	if c := s.collections[name]; c != nil {
		return c, nil
	}
	return nil, status.Errorf(codes.NotFound, "collection %s does not exist", name)
}

// Upsert writes points.
func (s *Server) Upsert(_ context.Context, r *qdrant.UpsertPoints) (*qdrant.PointsOperationResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.in(r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	for _, p := range r.GetPoints() {
		if uint64(len(vectorOf(p))) != c.width {
			return nil, status.Errorf(codes.InvalidArgument, "a vector has %d dimensions, the collection %d", len(vectorOf(p)), c.width)
		}
		c.points[p.GetId().GetNum()] = p
	}
	return &qdrant.PointsOperationResponse{}, nil
}

// CreateFieldIndex notes the field.
func (s *Server) CreateFieldIndex(_ context.Context, r *qdrant.CreateFieldIndexCollection) (*qdrant.PointsOperationResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.in(r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	c.fields[r.GetFieldName()] = true
	return &qdrant.PointsOperationResponse{}, nil
}

// Count counts points.
func (s *Server) Count(_ context.Context, r *qdrant.CountPoints) (*qdrant.CountResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.in(r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	return &qdrant.CountResponse{Result: &qdrant.CountResult{Count: uint64(len(c.points))}}, nil
}

// Query searches exactly, by inner product.
func (s *Server) Query(ctx context.Context, r *qdrant.QueryPoints) (*qdrant.QueryResponse, error) {
	s.mu.Lock()
	stuck := s.stuck
	s.mu.Unlock()
	if stuck {
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.in(r.GetCollectionName())
	if err != nil {
		return nil, err
	}
	query := r.GetQuery().GetNearest().GetDense().GetData()
	var found []*qdrant.ScoredPoint
	for _, id := range slices.Sorted(maps.Keys(c.points)) {
		if p := c.points[id]; s.deaf || passes(r.GetFilter(), p) {
			var score float32
			for d, x := range vectorOf(p) {
				score += x * query[d]
			}
			found = append(found, &qdrant.ScoredPoint{Id: p.GetId(), Score: score})
		}
	}
	slices.SortStableFunc(found, func(a, b *qdrant.ScoredPoint) int { return cmp.Compare(b.GetScore(), a.GetScore()) })
	return &qdrant.QueryResponse{Result: found[:min(len(found), int(r.GetLimit()))]}, nil
}

func vectorOf(p *qdrant.PointStruct) []float32 {
	return p.GetVectors().GetVector().GetDense().GetData()
}

// collections answers the other service: both have methods of one name.
type collections struct {
	*Server
	qdrant.UnimplementedCollectionsServer
}

// CollectionExists says whether a collection is there.
func (s collections) CollectionExists(_ context.Context, r *qdrant.CollectionExistsRequest) (*qdrant.CollectionExistsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return nil, s.fault
	}
	return &qdrant.CollectionExistsResponse{Result: &qdrant.CollectionExists{Exists: s.collections[r.GetCollectionName()] != nil}}, nil
}

// Create makes a collection.
func (s collections) Create(_ context.Context, r *qdrant.CreateCollection) (*qdrant.CollectionOperationResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return nil, s.fault
	}
	params := r.GetVectorsConfig().GetParams()
	if params.GetDistance() != qdrant.Distance_Dot {
		return nil, status.Errorf(codes.InvalidArgument, "the distance is %s", params.GetDistance())
	}
	s.collections[r.GetCollectionName()] = &collection{width: params.GetSize(), points: map[uint64]*qdrant.PointStruct{}, fields: map[string]bool{}}
	return &qdrant.CollectionOperationResponse{Result: true}, nil
}

// Package loadtest is a ranking service for tests of the load generator. Only tests import it.
package loadtest

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
)

// Answer decides what a call gets. method is rank, recommend or retrieve.
type Answer func(ctx context.Context, method string, r *pb.RecommendRequest) (*pb.RecommendResponse, error)

type server struct {
	pb.UnimplementedRankingServiceServer
	answer Answer
}

func (s server) Recommend(ctx context.Context, r *pb.RecommendRequest) (*pb.RecommendResponse, error) {
	return s.answer(ctx, "recommend", r)
}

func (s server) Retrieve(ctx context.Context, r *pb.RecommendRequest) (*pb.RecommendResponse, error) {
	return s.answer(ctx, "retrieve", r)
}

func (s server) Rank(ctx context.Context, r *pb.RecommendRequest) (*pb.RecommendResponse, error) {
	return s.answer(ctx, "rank", r)
}

// Start serves answer on loopback until the test ends, and returns the address.
func Start(t *testing.T, answer Answer) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterRankingServiceServer(s, server{answer: answer})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(listener) // ends with Stop
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return listener.Addr().String()
}

// Dial connects a client until the test ends.
func Dial(t *testing.T, address string) pb.RankingServiceClient {
	t.Helper()
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return pb.NewRankingServiceClient(c)
}

// Full is an undegraded answer of n items that says it took service.
func Full(n int, service time.Duration) *pb.RecommendResponse {
	return &pb.RecommendResponse{
		ReleaseId: "r1", Items: &pb.ItemIds{Ints: make([]int64, n)}, Micros: uint64(service.Microseconds()),
		Coverage: &pb.Coverage{Rung: pb.Rung_RUNG_FULL},
	}
}

package rpc

import (
	"context"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
)

// A call that fails says how long the server had it, from its headers on: the body may come later.
func TestFailedCallsSayTheirTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	const pause = 30 * time.Millisecond
	stream, err := w.data.NewStream(t.Context(), &grpc.StreamDesc{}, shortlistv1.RankingService_Recommend_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(pause)
	if err := stream.SendMsg(&shortlistv1.RecommendRequest{Limit: -1}); err != nil {
		t.Fatal(err)
	}
	_ = stream.CloseSend()
	if err := stream.RecvMsg(&shortlistv1.RecommendResponse{}); status.Code(err) != codes.InvalidArgument {
		t.Fatalf("status: %v", err)
	}
	said := stream.Trailer().Get(microsKey)
	if len(said) != 1 {
		t.Fatalf("trailer: %v", stream.Trailer())
	}
	if micros, err := strconv.Atoi(said[0]); err != nil || micros < int(pause.Microseconds()/2) {
		t.Errorf("the server says that it took %s us, where the body came after %s", said[0], pause)
	}
	var trailer metadata.MD
	if _, err := shortlistv1.NewRankingServiceClient(w.data).Recommend(context.Background(), &shortlistv1.RecommendRequest{}, grpc.Trailer(&trailer)); err != nil || len(trailer.Get(microsKey)) != 0 {
		t.Errorf("an answer says its time itself: %v, %v", trailer, err)
	}
}

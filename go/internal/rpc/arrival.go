package rpc

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"
)

// microsKey is the trailer of a failed call that says how long the server had it. Answers say it themselves.
const microsKey = "shortlist-micros"

type arrivalKey struct{}

// arrive notes when the headers of a call were read, before the body is, and before a goroutine gets its
// turn: on a busy machine a refusal waits for that turn longer than it takes.
func arrive(ctx context.Context, _ *tap.Info) (context.Context, error) {
	return context.WithValue(ctx, arrivalKey{}, time.Now()), nil
}

// arrived is when the call came; now where nobody noted it.
func arrived(ctx context.Context) time.Time {
	if at, ok := ctx.Value(arrivalKey{}).(time.Time); ok {
		return at
	}
	return time.Now()
}

// sayMicros sends the time with a failed call.
func sayMicros(ctx context.Context, took time.Duration) {
	// It fails only outside of a call, where nobody reads it.
	_ = grpc.SetTrailer(ctx, metadata.Pairs(microsKey, strconv.FormatInt(took.Microseconds(), 10)))
}

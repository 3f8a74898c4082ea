package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// interceptor stands around every call: it counts, times, turns errors into statuses and keeps a panic of
// one call from ending the process.
type interceptor struct {
	observer Observer
	logger   *slog.Logger
	stopping <-chan struct{} // closed when the server stops: streams end, unary calls finish
}

func (i *interceptor) unary(ctx context.Context, in any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (out any, err error) {
	start := arrived(ctx)
	i.observer.CallStarted()
	defer func() { err = i.end(ctx, info.FullMethod, requestIDOf(in), start, recover(), err) }()
	return handler(ctx, in)
}

func (i *interceptor) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	start := arrived(stream.Context())
	i.observer.CallStarted()
	defer func() { err = i.end(stream.Context(), info.FullMethod, "", start, recover(), err) }()
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go func() {
		select {
		case <-i.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return handler(srv, endingStream{stream, ctx})
}

// endingStream is a stream whose context ends when the server stops: a client that watches health would
// otherwise hold up every drain to its limit.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s endingStream) Context() context.Context { return s.ctx }

// end is called with what the handler left: a panic, an error or nothing. FullMethod is the name of a
// registered method, so labels and log fields stay a closed set.
func (i *interceptor) end(ctx context.Context, method, requestID string, start time.Time, panicked any, err error) error {
	if panicked != nil {
		i.observer.Recovered()
		i.logger.ErrorContext(ctx, "a handler panicked", "method", method, "request_id", requestID, "panic", fmt.Sprint(panicked),
			"stack", string(debug.Stack()))
		err = fmt.Errorf("panic: %v", panicked)
	}
	s := asStatus(err)
	took := time.Since(start)
	if s.Code() != codes.OK {
		sayMicros(ctx, took)
	}
	if s.Code() == codes.Internal && panicked == nil {
		i.logger.ErrorContext(ctx, "a call failed", "method", method, "request_id", requestID, "error", err)
	} else if i.logger.Enabled(ctx, slog.LevelDebug) {
		i.logger.DebugContext(ctx, "call", "method", method, "request_id", requestID, "code", s.Code().String(), "micros", took.Microseconds())
	}
	i.observer.CallEnded(method[strings.LastIndexByte(method, '/')+1:], s.Code().String(), took)
	return s.Err()
}

func requestIDOf(in any) string {
	if message, ok := in.(interface{ GetRequestId() string }); ok {
		id := message.GetRequestId()
		return id[:min(len(id), maxRequestID)]
	}
	return ""
}

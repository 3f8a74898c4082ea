package rpc

import (
	"context"
	"runtime/trace"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that codec wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// envelope carries a message through grpc-go together with the reason why it could not be decoded. Left to
// itself grpc-go answers INTERNAL then, before any code of ours runs; but broken protobuf, or text that is
// not UTF-8, is the caller's fault.
type envelope struct {
	message any
	err     error
}

// Trace regions of what callers send and get.
const (
	regionDecode = "decode"
	regionEncode = "encode"
)

// codec is the protobuf codec; it decodes envelopes too.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	defer trace.StartRegion(context.Background(), regionEncode).End()
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	defer trace.StartRegion(context.Background(), regionDecode).End()
	if e, ok := v.(*envelope); ok {
		e.err = c.CodecV2.Unmarshal(data, e.message)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// register adds a service whose undecodable messages are INVALID_ARGUMENT.
func register(server *grpc.Server, desc *grpc.ServiceDesc, impl any) {
	checked := *desc
	checked.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, method := range desc.Methods {
		handler := method.Handler
		checked.Methods[i] = grpc.MethodDesc{MethodName: method.MethodName,
			Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
				return handler(srv, ctx, func(message any) error { return decodeEnvelope(decode, message) }, intercept)
			}}
	}
	server.RegisterService(&checked, impl)
}

func decodeEnvelope(decode func(any) error, message any) error {
	e := &envelope{message: message}
	if err := decode(e); err != nil {
		return err
	}
	if e.err != nil {
		return status.Error(codes.InvalidArgument, "the request is not a valid message: texts must be UTF-8, and the bytes those of the method's request type")
	}
	return nil
}

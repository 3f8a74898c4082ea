package rpc

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// domain of google.rpc.ErrorInfo.
const domain = "shortlist"

// errNoStore answers user calls of a server that keeps no users.
var errNoStore = errors.New("this server keeps no users: set store.path, or send histories inline")

// modelNotFoundError answers an inference call for a graph or a version that is not served.
type modelNotFoundError struct{ what string }

func (e *modelNotFoundError) Error() string { return e.what }

// asStatus chooses the status code of every error but a message that cannot be decoded (codec.go). What it does not know is INTERNAL, with a text that gives nothing away.
func asStatus(err error) *status.Status {
	var (
		invalid  *rank.InvalidError
		full     *rank.OverloadedError
		late     *rank.DeadlineError
		missing  *rank.ReleaseNotFoundError
		refused  *rank.ReleaseRefusedError
		notModel *modelNotFoundError
	)
	info := &errdetails.ErrorInfo{Reason: rank.ReasonOf(err), Domain: domain}
	switch {
	case err == nil:
		return status.New(codes.OK, "")
	case errors.As(err, &invalid):
		bad := &errdetails.BadRequest{}
		for _, f := range invalid.Fields {
			description := f.Problem
			if f.Fix != "" {
				description += "; " + f.Fix
			}
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: f.Field, Description: description, Reason: f.Reason})
		}
		return with(codes.InvalidArgument, invalid.Error(), info, bad)
	case errors.As(err, &full):
		return with(codes.ResourceExhausted, full.Error(), info, &errdetails.RetryInfo{RetryDelay: durationpb.New(full.RetryAfter)})
	case errors.As(err, &late):
		return with(codes.DeadlineExceeded, late.Error(), info)
	case errors.As(err, &missing):
		return with(codes.FailedPrecondition, missing.Error(), info)
	case errors.As(err, &refused):
		return with(codes.FailedPrecondition, refused.Error(), info)
	case errors.As(err, &notModel):
		return status.New(codes.NotFound, notModel.Error())
	case errors.Is(err, rank.ErrNoRelease):
		return with(codes.FailedPrecondition, rank.ErrNoRelease.Error(), info)
	case errors.Is(err, rank.ErrDraining):
		return with(codes.Unavailable, rank.ErrDraining.Error(), info)
	case errors.Is(err, rank.ErrNoDevice):
		return with(codes.Unavailable, rank.ErrNoDevice.Error(), info)
	case errors.Is(err, rank.ErrDebugNotAllowed):
		return with(codes.PermissionDenied, rank.ErrDebugNotAllowed.Error(), info)
	case errors.Is(err, rank.ErrUserNotFound):
		return with(codes.NotFound, rank.ErrUserNotFound.Error(), info)
	case errors.Is(err, errNoStore):
		return status.New(codes.Unimplemented, errNoStore.Error())
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "the caller gave up")
	case errors.Is(err, context.DeadlineExceeded):
		info.Reason = rank.ReasonDeadline
		return with(codes.DeadlineExceeded, "the deadline passed before any answer was possible", info)
	}
	if s, ok := status.FromError(err); ok {
		return s
	}
	return status.New(codes.Internal, "internal error; the server's log says more under the request id")
}

func with(code codes.Code, message string, details ...protoadapt.MessageV1) *status.Status {
	s := status.New(code, message)
	if detailed, err := s.WithDetails(details...); err == nil {
		return detailed
	}
	return s
}

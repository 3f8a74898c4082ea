package rank_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Every error of the domain has a reason, and every reason is one of the wire's.
func TestReasons(t *testing.T) {
	t.Parallel()
	tests := map[error]string{
		&rank.InvalidError{}: rank.ReasonInvalidField,
		&rank.InvalidError{Fields: []rank.FieldError{{Reason: rank.ReasonTooLarge}}}: rank.ReasonTooLarge,
		&rank.OverloadedError{}:      rank.ReasonOverloaded,
		&rank.DeadlineError{}:        rank.ReasonDeadline,
		&rank.ReleaseNotFoundError{}: rank.ReasonReleaseNotFound,
		&rank.ReleaseRefusedError{}:  rank.ReasonReleaseRefused,
		rank.ErrDraining:             rank.ReasonDraining,
		rank.ErrNoRelease:            rank.ReasonNotReady,
		rank.ErrDebugNotAllowed:      rank.ReasonDebugNotAllowed,
		rank.ErrUserNotFound:         rank.ReasonUserNotFound,
		errors.New("other"):          "",
	}
	for err, want := range tests {
		if got := rank.ReasonOf(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("reason of %T is %q, want %q", err, got, want)
		}
		if _, ok := shortlistv1.ErrorReason_value[want]; want != "" && !ok {
			t.Errorf("%q is not in errors.proto", want)
		}
	}
	for _, reason := range []string{rank.ReasonUnknownColumn, rank.ReasonWrongType, rank.ReasonNotFinite, rank.ReasonMissingField} {
		if _, ok := shortlistv1.ErrorReason_value[reason]; !ok {
			t.Errorf("%q is not in errors.proto", reason)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	var f rank.Faults
	if f.Err() != nil {
		t.Error("no fault is an error")
	}
	f.Add("limit", rank.ReasonInvalidField, "it is negative", "send 0 or more")
	if err := f.Merge(fmt.Errorf("deeper: %w", &rank.InvalidError{Fields: []rank.FieldError{{Field: "user", Problem: "it is empty"}}})); err != nil {
		t.Error(err)
	}
	other := errors.New("other")
	if err := f.Merge(other); err != other {
		t.Errorf("Merge hid %v", other)
	}
	if err := f.Merge(nil); err != nil {
		t.Error(err)
	}
	if got, want := f.Err().Error(), "invalid request: limit: it is negative; send 0 or more. user: it is empty"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 1000 {
		f.Add("x", "", strings.Repeat("x", 10), "")
	}
	var invalid *rank.InvalidError
	if !errors.As(f.Err(), &invalid) || len(invalid.Fields) != 64 {
		t.Errorf("%d faults are listed, want 64", len(invalid.Fields))
	}
}

func TestErrorsUnwrap(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	if err := (&rank.ReleaseRefusedError{ReleaseID: "r", Cause: cause}); !errors.Is(err, cause) || !strings.Contains(err.Error(), `"r"`) {
		t.Errorf("%v does not name the release or wrap its cause", err)
	}
	if err := (&rank.OverloadedError{Where: "gate", RetryAfter: time.Second}); !strings.Contains(err.Error(), "1s") {
		t.Errorf("%v does not say when to retry", err)
	}
}

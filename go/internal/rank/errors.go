package rank

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Reasons of refused calls: the names of shortlist.v1.ErrorReason.
const (
	ReasonInvalidField    = "ERROR_REASON_INVALID_FIELD"
	ReasonUnknownColumn   = "ERROR_REASON_UNKNOWN_COLUMN"
	ReasonWrongType       = "ERROR_REASON_WRONG_TYPE"
	ReasonNotFinite       = "ERROR_REASON_NOT_FINITE"
	ReasonTooLarge        = "ERROR_REASON_TOO_LARGE"
	ReasonMissingField    = "ERROR_REASON_MISSING_FIELD"
	ReasonOverloaded      = "ERROR_REASON_OVERLOADED"
	ReasonNotReady        = "ERROR_REASON_NOT_READY"
	ReasonDraining        = "ERROR_REASON_DRAINING"
	ReasonReleaseNotFound = "ERROR_REASON_RELEASE_NOT_FOUND"
	ReasonReleaseRefused  = "ERROR_REASON_RELEASE_REFUSED"
	ReasonDebugNotAllowed = "ERROR_REASON_DEBUG_NOT_ALLOWED"
	ReasonDeadline        = "ERROR_REASON_DEADLINE"
	ReasonUserNotFound    = "ERROR_REASON_USER_NOT_FOUND"
)

// Errors without data. Their texts are fit for clients.
var (
	ErrDraining        = errors.New("the server is draining: retry on another replica")
	ErrNoRelease       = errors.New("no release is active: load and activate one, or wait until the server is ready")
	ErrNoDevice        = errors.New("the device that runs the graphs failed: retry on another replica")
	ErrDebugNotAllowed = errors.New("debug needs authorisation: drop the debug block or send the debug token")
	ErrUserNotFound    = errors.New("the store holds nothing of this user: append events first, or send the history inline")
)

// FieldError is one fault of a request. Field is a wire path such as "user.features[age]"; Problem and
// Fix are short clauses for the client, without raw input.
type FieldError struct {
	Field   string
	Problem string
	Fix     string
	Reason  string // one of the Reason constants
}

func (e FieldError) Error() string {
	if e.Fix == "" {
		return e.Field + ": " + e.Problem
	}
	return e.Field + ": " + e.Problem + "; " + e.Fix
}

// InvalidError lists every fault of a request.
type InvalidError struct {
	Fields []FieldError
}

func (e *InvalidError) Error() string {
	texts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		texts[i] = f.Error()
	}
	return "invalid request: " + strings.Join(texts, ". ")
}

// maxFaults bounds the faults that one InvalidError lists, so that a hostile request cannot make a huge answer.
const maxFaults = 64

// Faults collects the faults of a request. The zero value is ready; it is not safe for concurrent use.
type Faults struct {
	fields []FieldError
}

// Add records a fault; those past the first 64 are dropped.
func (f *Faults) Add(field, reason, problem, fix string) {
	if len(f.fields) < maxFaults {
		f.fields = append(f.fields, FieldError{Field: field, Reason: reason, Problem: problem, Fix: fix})
	}
}

// Merge records err: the fields of an InvalidError. It returns any other error unchanged.
func (f *Faults) Merge(err error) error {
	if err == nil {
		return nil
	}
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	for _, e := range invalid.Fields {
		f.Add(e.Field, e.Reason, e.Problem, e.Fix)
	}
	return nil
}

// Err is nil when no fault was recorded, else an *InvalidError.
func (f *Faults) Err() error {
	if len(f.fields) == 0 {
		return nil
	}
	return &InvalidError{Fields: f.fields}
}

// OverloadedError says that work was shed. It is a value to plan with, not an accident.
type OverloadedError struct {
	RetryAfter time.Duration
	Where      string // what was full, as "admission gate"
}

func (e *OverloadedError) Error() string {
	return fmt.Sprintf("overloaded: the %s is full; retry after %s", e.Where, e.RetryAfter)
}

// DeadlineError says that the deadline left no time for a stage.
type DeadlineError struct {
	Stage string
}

func (e *DeadlineError) Error() string {
	return "the deadline passed before " + e.Stage + ": allow more time or ask for fewer items"
}

// ReleaseNotFoundError says that a release is not in the repository, or not loaded.
type ReleaseNotFoundError struct {
	ReleaseID string
}

func (e *ReleaseNotFoundError) Error() string {
	return fmt.Sprintf("release %q is not in the repository: list the releases to see what is", e.ReleaseID)
}

// ReleaseRefusedError says why a release was not admitted. Cause may hold paths and is for operators.
type ReleaseRefusedError struct {
	ReleaseID string
	Cause     error
}

func (e *ReleaseRefusedError) Error() string {
	return fmt.Sprintf("release %q was refused: %v", e.ReleaseID, e.Cause)
}

func (e *ReleaseRefusedError) Unwrap() error { return e.Cause }

// ReasonOf is the reason constant of an error of this package, "" for others.
func ReasonOf(err error) string {
	var (
		invalid    *InvalidError
		overloaded *OverloadedError
		deadline   *DeadlineError
		notFound   *ReleaseNotFoundError
		refused    *ReleaseRefusedError
	)
	switch {
	case errors.As(err, &invalid):
		if len(invalid.Fields) > 0 && invalid.Fields[0].Reason != "" {
			return invalid.Fields[0].Reason
		}
		return ReasonInvalidField
	case errors.As(err, &overloaded):
		return ReasonOverloaded
	case errors.As(err, &deadline):
		return ReasonDeadline
	case errors.As(err, &notFound):
		return ReasonReleaseNotFound
	case errors.As(err, &refused):
		return ReasonReleaseRefused
	case errors.Is(err, ErrDraining):
		return ReasonDraining
	case errors.Is(err, ErrNoRelease), errors.Is(err, ErrNoDevice):
		return ReasonNotReady
	case errors.Is(err, ErrDebugNotAllowed):
		return ReasonDebugNotAllowed
	case errors.Is(err, ErrUserNotFound):
		return ReasonUserNotFound
	}
	return ""
}

package runtime

import "errors"

// Faults of the caller, the same for every runtime.
var (
	ErrClosed      = errors.New("the session is closed")
	ErrClosedTwice = errors.New("the session was closed before")
	ErrArity       = errors.New("the number of inputs or outputs is not that of the graph")
)

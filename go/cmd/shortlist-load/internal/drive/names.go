package drive

import (
	"strings"

	"google.golang.org/grpc/codes"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
)

// Shed is the code of calls that an overloaded server refuses.
const Shed = "RESOURCE_EXHAUSTED"

var names = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	Shed, "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// codeName is the name on the wire; package codes prints Go's own spelling.
func codeName(c codes.Code) string {
	if int(c) < len(names) {
		return names[c]
	}
	return c.String()
}

func rungName(r pb.Rung) string { return strings.ToLower(strings.TrimPrefix(r.String(), "RUNG_")) }

// Full is the name of the best rung; answers of any other one are degraded.
var Full = rungName(pb.Rung_RUNG_FULL)

package rpc

// The allowed neighbour of the bad ones: nothing here is a fault.
import (
	_ "google.golang.org/grpc"

	_ "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	_ "github.com/shortlist-serving/shortlist/go/internal/funnel"
)

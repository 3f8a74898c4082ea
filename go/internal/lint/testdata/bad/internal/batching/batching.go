package batching

import (
	_ "google.golang.org/grpc"

	_ "github.com/shortlist-serving/shortlist/go/internal/repository"
)

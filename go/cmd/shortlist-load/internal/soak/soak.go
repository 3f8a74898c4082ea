// Package soak sends many requests as fast as a few callers get answers, and watches the server's memory.
// It is a closed loop: it says nothing about latency.
package soak

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/status"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/drive"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/report"
)

// Options of a soak.
type Options struct {
	Requests int64
	WarmUp   int64 // requests before memory counts
	Callers  int
	Deadline time.Duration
	Memory   func() (float64, error) // MB of the server
}

// Run fills the counts and samples of r. Memory is read about 200 times, after equal numbers of requests, so
// that a fast and a slow server give comparable reports. Cancelling ctx ends it early.
func Run(ctx context.Context, clients []pb.RankingServiceClient, source drive.Source, o Options, r *report.Soak) error {
	every := max(o.Requests/200, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	counts := drive.NewCounts()
	var next atomic.Int64
	var ended int64
	var unreadable error
	var mu sync.Mutex                // guards ended, counts, unreadable and r.Samples
	sample := func(requests int64) { // with mu held
		mb, err := o.Memory()
		if err != nil {
			unreadable = err
			cancel()
			return
		}
		r.Samples = append(r.Samples, report.Sample{Requests: requests, RSSMB: mb})
	}
	mu.Lock()
	sample(0)
	mu.Unlock()
	start := time.Now()
	var callers sync.WaitGroup
	for i := range o.Callers {
		client := clients[i%len(clients)]
		callers.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1)
				if n > o.Requests {
					return
				}
				call := source.Call(uint64(n - 1))
				callCtx, done := context.WithTimeout(context.Background(), o.Deadline)
				answer, err := drive.Invoke(callCtx, client, call)
				done()
				mu.Lock()
				counts.Add(status.Code(err), answer)
				ended++
				if ended%every == 0 {
					sample(ended)
				}
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	r.Seconds = time.Since(start).Seconds()
	r.Requests, r.WarmUp = ended, o.WarmUp
	r.Answered, r.Codes, r.Rungs = counts.Answered, counts.Codes, counts.Rungs
	r.Releases = slices.Sorted(maps.Keys(counts.Releases))
	r.Judge()
	return unreadable
}

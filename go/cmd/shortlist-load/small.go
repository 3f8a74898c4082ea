package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/drive"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/report"
)

// smallRun holds small calls alone and then, at the same times, among as many large ones that load the server to
// a share of its capacity. What the small ones lose by that is the verdict.
func smallRun(ctx context.Context, command []string, o *options, progress io.Writer) (result, error) {
	header := newHeader(command, o, "Small calls among large ones")
	generator, clients, disconnect, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	defer disconnect()
	options := drive.Options{Process: o.Arrivals, Deadline: o.Deadline, MaxInFlight: o.MaxInFlight, Seed: o.Mix.Seed}
	large := drive.New(clients, generator, options)
	_, _ = fmt.Fprintf(progress, "capacity: %d callers for %s\n", o.Callers, o.WarmUp)
	capacity := large.Capacity(ctx, o.Callers, o.WarmUp)
	if capacity == 0 {
		return nil, errors.New("no call was answered in the warm-up, so there is no capacity to take a share of: raise -deadline or -warmup")
	}
	rate := capacity * o.Rates[0]
	small := func() *drive.Driver { return drive.New(clients, generator.WithCandidates(o.Small), options) } // each sends the same calls
	// The capacity left the server under pressure: it comes back to full answers before small calls count.
	small().Hold(ctx, rate, o.WarmUp)
	_, _ = fmt.Fprintf(progress, "small calls alone: %.4g/s for %s\n", rate, o.Duration)
	alone := small().Hold(ctx, rate, o.Duration)
	_, _ = fmt.Fprintf(progress, "small calls among large ones: %.4g/s of each for %s\n", rate, o.Duration)
	var among, loading *drive.Step
	var both sync.WaitGroup
	both.Go(func() { among = small().Hold(ctx, rate, o.Duration) })
	both.Go(func() { loading = large.Hold(ctx, rate, o.Duration) })
	both.Wait()
	alone.Name, among.Name, loading.Name = "small alone", "small among large", "large"
	result := report.NewLoad(header, []*drive.Step{alone, among, loading})
	result.JudgeSmall(capacity, result.Steps[0], result.Steps[1])
	return loadResult{result}, nil
}

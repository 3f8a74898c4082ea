package ort

import (
	"context"
	goruntime "runtime"
	"syscall"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

const rusageThread = 1 // RUSAGE_THREAD, which package syscall lacks

// Sixteen tensors of 1.2 MB live at once in a run and are freed at its end: 4,800 pages.
func TestRunsDoNotFaultTheirMemoryInAgain(t *testing.T) {
	r := newRuntime(t)
	s, err := r.Load("wide", graph(t, "wide"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	inputs := []runtime.Tensor{runtime.Floats(make([]float32, 300_000), 300_000)}
	outputs := []runtime.Tensor{runtime.Floats(make([]float32, 1), 1)}
	goruntime.LockOSThread() // its own faults, not those of tests beside it
	defer goruntime.UnlockOSThread()
	faults := func(runs int) int64 {
		var before, after syscall.Rusage
		_ = syscall.Getrusage(rusageThread, &before)
		for range runs {
			if err := s.Run(context.Background(), inputs, outputs); err != nil {
				t.Fatal(err)
			}
		}
		_ = syscall.Getrusage(rusageThread, &after)
		return (after.Minflt - before.Minflt) / int64(runs)
	}
	faults(10)
	if got := faults(20); got > 200 {
		t.Errorf("%d page faults a run, want the memory of the runs before", got)
	}
	if outputs[0].F32[0] != 120 {
		t.Errorf("y = %v", outputs[0].F32[0])
	}
}

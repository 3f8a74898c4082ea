package batching

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"
)

// Workers run at the lower priority, and nobody else does: not their callers, nor threads that start later.
func TestWorkersGiveWay(t *testing.T) {
	t.Parallel()
	const nice, raw = 3, 20 // the system call gives 20 - nice
	before, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(t, PoolOptions{Workers: 2, Nice: raw - before + nice})
	for range 4 {
		found := make(chan int, 1)
		if _, err := p.Do(t.Context(), []Task{{Run: func(context.Context) error {
			now, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
			found <- now
			return err
		}}}); err != nil {
			t.Fatal(err)
		}
		if now := <-found; now != before-nice {
			t.Errorf("a worker has priority %d, want %d below %d", raw-now, nice, raw-before)
		}
	}
	if after, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid()); err != nil || after != before {
		t.Errorf("the caller's priority changed from %d to %d: %v", raw-before, raw-after, err)
	}
}

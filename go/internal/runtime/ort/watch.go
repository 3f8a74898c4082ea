package ort

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"sync"
	"time"
)

// lookEvery is how often runs are held against their contexts. Looking interrupts a core that is busy with a
// graph, so that most runs should be over before it; context.AfterFunc would allocate four times for each.
const lookEvery = 5 * time.Millisecond

// watch tells ONNX Runtime to end the runs whose contexts have ended. Its timer runs while there is a run.
type watch struct {
	mu    sync.Mutex
	runs  []*call
	timer *time.Timer
}

func newWatch() *watch {
	w := &watch{}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	return w
}

// add watches a run, whose options are set, until it is removed.
func (w *watch) add(ctx context.Context, c *call) {
	w.mu.Lock()
	c.ctx, c.ended, c.place = ctx, false, len(w.runs)
	w.runs = append(w.runs, c)
	if len(w.runs) == 1 {
		w.timer.Reset(lookEvery)
	}
	w.mu.Unlock()
}

// remove gives the run's options back to their owner, as good as new.
func (w *watch) remove(c *call) error {
	w.mu.Lock()
	last := len(w.runs) - 1
	w.runs[c.place] = w.runs[last]
	w.runs[c.place].place = c.place
	w.runs[last] = nil
	w.runs = w.runs[:last]
	if last == 0 {
		w.timer.Stop()
	}
	w.mu.Unlock()
	c.ctx = nil
	if !c.ended {
		return nil
	}
	return statusError(C.shim_terminate(c.options, 0))
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.runs {
		if !c.ended && c.ctx.Err() != nil {
			c.ended = true
			_ = statusError(C.shim_terminate(c.options, 1)) // a run that cannot be ended ends by itself
		}
	}
	if len(w.runs) > 0 {
		w.timer.Reset(lookEvery)
	}
}

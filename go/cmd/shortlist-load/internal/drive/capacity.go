package drive

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Capacity is how many calls a second a few callers get answered who send the next call when the last one
// ended: about what the server can do, without ever overloading it. Failed calls do not count.
func (d *Driver) Capacity(ctx context.Context, callers int, length time.Duration) float64 {
	start := time.Now()
	var answered, next atomic.Int64
	var calling sync.WaitGroup
	for i := range callers {
		client := d.clients[i%len(d.clients)]
		calling.Go(func() {
			for ctx.Err() == nil && time.Since(start) < length {
				call := d.source.Call(uint64(next.Add(1)))
				callCtx, done := context.WithTimeout(ctx, d.options.Deadline)
				if _, err := Invoke(callCtx, client, call); err == nil {
					answered.Add(1)
				}
				done()
			}
		})
	}
	calling.Wait()
	return float64(answered.Load()) / time.Since(start).Seconds()
}

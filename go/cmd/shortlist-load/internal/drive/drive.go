// Package drive sends calls when they are due and times them from that moment, so that a stalled server
// is charged for every call that waited, not only for those a polite caller would have sent.
package drive

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/arrival"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/trace"
)

// Source makes call i.
type Source interface {
	Call(i uint64) trace.Call
}

// Options of a run.
type Options struct {
	Process     arrival.Process
	Deadline    time.Duration // of each call, from its due time
	MaxInFlight int
	Seed        uint64
}

// Step is one rate that was held for a while.
type Step struct {
	Name    string        // where a run has steps of several kinds
	Rate    float64       // calls a second that were asked for
	Length  time.Duration // of the schedule
	Took    time.Duration // until the last call ended
	CPU     float64       // share of its cores that the generator used, 0..1
	Stopped bool          // the run was interrupted in this step
	*Tally
}

// Driver sends the calls of a source over a set of connections.
type Driver struct {
	clients []pb.RankingServiceClient
	source  Source
	options Options
	next    uint64 // calls handed out, over all steps
	steps   uint64
}

// New makes a driver; clients are used in turn.
func New(clients []pb.RankingServiceClient, source Source, options Options) *Driver {
	return &Driver{clients: clients, source: source, options: options}
}

// prepared is a call that is ready before it is due, so that making requests does not delay sending.
type prepared struct {
	call trace.Call
	due  time.Duration
}

// Hold sends calls at rate for length, waits for those in flight and reports. Cancelling ctx ends the
// schedule early; calls in flight still get their answer or meet their deadline.
func (d *Driver) Hold(ctx context.Context, rate float64, length time.Duration) *Step {
	d.steps++
	schedule := arrival.New(d.options.Process, rate, length, d.options.Seed+d.steps)
	ready := make(chan prepared, 256)
	done := make(chan struct{})
	var producer sync.WaitGroup
	producer.Go(func() {
		defer close(ready)
		for {
			due, ok := schedule.Next()
			if !ok {
				return
			}
			select {
			case ready <- prepared{call: d.source.Call(d.next), due: due}:
				d.next++
			case <-done:
				return
			}
		}
	})

	step := &Step{Rate: rate, Length: length, Tally: newTally()}
	rec := &recorder{tally: step.Tally, deadline: d.options.Deadline}
	slots := make(chan struct{}, d.options.MaxInFlight)
	var calls sync.WaitGroup
	before, start := cpuTime(), time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for sent := 0; ; sent++ {
		p, ok := <-ready
		if !ok || !sleepUntil(ctx, timer, start.Add(p.due)) {
			if ok {
				step.Stopped, step.Length = true, min(length, time.Since(start))
			}
			break
		}
		select {
		case slots <- struct{}{}:
		default:
			rec.unsent(p.due)
			continue
		}
		client := d.clients[sent%len(d.clients)]
		calls.Go(func() {
			defer func() { <-slots }()
			rec.record(d.send(client, p, start))
		})
	}
	close(done)
	producer.Wait()
	calls.Wait()
	step.Took = time.Since(start)
	step.CPU = (cpuTime() - before).Seconds() / (step.Took.Seconds() * float64(runtime.GOMAXPROCS(0)))
	return step
}

// send makes one call. Its deadline counts from the due time, because so does the caller's patience.
func (d *Driver) send(client pb.RankingServiceClient, p prepared, start time.Time) outcome {
	ctx, cancel := context.WithDeadline(context.Background(), start.Add(p.due+d.options.Deadline))
	defer cancel()
	o := outcome{kind: p.call.Kind, due: p.due, sent: time.Since(start)}
	var trailer metadata.MD
	answer, err := Invoke(ctx, client, p.call, grpc.Trailer(&trailer))
	o.ended = time.Since(start)
	o.code = status.Code(err)
	o.answer = answer
	o.server = serverTime(answer, trailer)
	return o
}

// serverTime is how long the server says that it had a call; 0 where it does not say.
func serverTime(answer *pb.RecommendResponse, trailer metadata.MD) time.Duration {
	micros := answer.GetMicros()
	if said := trailer.Get("shortlist-micros"); len(said) > 0 {
		micros, _ = strconv.ParseUint(said[0], 10, 64) // what is no number says nothing
	}
	return time.Duration(micros) * time.Microsecond
}

// Invoke sends a call by the method of its kind.
func Invoke(ctx context.Context, client pb.RankingServiceClient, call trace.Call, options ...grpc.CallOption) (*pb.RecommendResponse, error) {
	switch call.Kind {
	case trace.Rank:
		return client.Rank(ctx, call.Request, options...)
	case trace.Retrieve:
		return client.Retrieve(ctx, call.Request, options...)
	}
	return client.Recommend(ctx, call.Request, options...)
}

// sleepUntil is false when ctx ended first. A time that has passed returns at once.
func sleepUntil(ctx context.Context, timer *time.Timer, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer.Reset(wait)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Package guard keeps what a broken device computes out of answers. After a fault of the device its sessions
// are quarantined: their runs go to spare sessions on the CPU where there are some, and fail where not. A
// lost device stays lost until the process restarts; a session that ran out of memory, until its release is
// closed.
package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// memoryFaults is how many runs in a row must not fit into the device's memory before a session is given
// up: a single one may be an odd request, and leaves the device as it was.
const memoryFaults = 3

// Event is the begin or the end of a quarantine.
type Event struct {
	Graph   string // "" for all graphs
	Err     error  // why it began; nil when it ended, because the session was closed
	OnSpare bool   // runs go to the CPU; false: they fail
}

// Device is what the sessions on one device share. It is safe for concurrent use.
type Device struct {
	onEvent   func(Event)
	slots     chan struct{} // one for each run of a spare at a time
	spareRuns atomic.Int64

	mu       sync.Mutex
	lost     *runtime.DeviceError
	sessions map[*session]struct{} // open ones
}

// New makes a guard. Spares run at most cores at a time: callers are many more where they wait for a GPU. onEvent
// is called outside of locks; nil for nobody.
func New(cores int, onEvent func(Event)) *Device {
	if onEvent == nil {
		onEvent = func(Event) {}
	}
	return &Device{onEvent: onEvent, slots: make(chan struct{}, max(cores, 1)), sessions: map[*session]struct{}{}}
}

// Err says why runs fail; nil while every open session, or its spare, takes them.
func (d *Device) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.sessions {
		if fault := s.fault.Load(); fault != nil && s.spare == nil {
			return fault
		}
	}
	if d.lost != nil && len(d.sessions) == 0 {
		return d.lost
	}
	return nil
}

// Quarantined is the number of open sessions that the device does not run any more.
func (d *Device) Quarantined() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for s := range d.sessions {
		if s.fault.Load() != nil {
			n++
		}
	}
	return n
}

// SpareRuns counts the runs that spare sessions took after a fault.
func (d *Device) SpareRuns() int64 { return d.spareRuns.Load() }

// Guard puts the guard before a session of the device. spare is the same graph on the CPU, nil for none.
// Both are closed with the result. A lost device takes no session; then both stay the caller's.
func (d *Device) Guard(graph string, primary, spare runtime.Session) (runtime.Session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost != nil {
		return nil, fmt.Errorf("load graph %q: %w; restart the process", graph, d.lost)
	}
	s := &session{Session: primary, spare: spare, device: d, graph: graph}
	d.sessions[s] = struct{}{}
	return s, nil
}

// quarantine takes the session, or all, off the device.
func (d *Device) quarantine(s *session, fault *runtime.DeviceError) {
	d.mu.Lock()
	event := Event{Graph: s.graph, Err: fault, OnSpare: s.spare != nil}
	switch {
	case s.fault.Load() != nil: // another run told already
		d.mu.Unlock()
		return
	case fault.Gone():
		d.lost, event.Graph = fault, ""
		for other := range d.sessions {
			other.fault.Store(fault)
			event.OnSpare = event.OnSpare && other.spare != nil
		}
	}
	s.fault.Store(fault) // it may be closing, and not among the open ones
	d.mu.Unlock()
	d.onEvent(event)
}

// session is a session of the device with its spare.
type session struct {
	runtime.Session // on the device
	spare           runtime.Session
	device          *Device
	graph           string
	fault           atomic.Pointer[runtime.DeviceError] // why it is quarantined; nil while it is sound
	misses          atomic.Int32                        // runs in a row that did not fit into memory
}

type onSpare struct{}

// OnSpare makes runs go to spare sessions, where there are some, so that they can be proved before they are needed.
func OnSpare(ctx context.Context) context.Context { return context.WithValue(ctx, onSpare{}, true) }

// Run implements runtime.Session. Outputs are those of one whole run, of the device or of the spare.
func (s *session) Run(ctx context.Context, inputs, outputs []runtime.Tensor) error {
	if s.spare != nil && ctx.Value(onSpare{}) != nil {
		return s.spare.Run(ctx, inputs, outputs)
	}
	if fault := s.fault.Load(); fault != nil {
		return s.instead(ctx, fault, inputs, outputs)
	}
	asked := append([]runtime.Tensor(nil), outputs...)
	err := s.Session.Run(ctx, inputs, outputs)
	fault := s.fault.Load() // the device may have failed under a run that saw nothing of it
	if err == nil && fault == nil {
		s.misses.Store(0)
		return nil
	}
	var own *runtime.DeviceError
	if errors.As(err, &own) {
		fault = own
		if fault.Gone() || s.misses.Add(1) >= memoryFaults {
			s.device.quarantine(s, fault)
		}
	}
	if fault == nil {
		return err
	}
	copy(outputs, asked) // what the run allocated is not the answer
	return s.instead(ctx, fault, inputs, outputs)
}

// instead runs the spare, or fails.
func (s *session) instead(ctx context.Context, fault *runtime.DeviceError, inputs, outputs []runtime.Tensor) error {
	if s.spare == nil {
		return fmt.Errorf("run graph %q: %w", s.graph, fault)
	}
	select {
	case s.device.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.device.slots }()
	s.device.spareRuns.Add(1)
	return s.spare.Run(ctx, inputs, outputs)
}

// Close implements runtime.Session.
func (s *session) Close() error {
	s.device.mu.Lock()
	_, open := s.device.sessions[s]
	delete(s.device.sessions, s)
	ended := open && s.fault.Load() != nil && s.device.lost == nil
	s.device.mu.Unlock()
	err := s.Session.Close()
	if s.spare != nil {
		err = errors.Join(err, s.spare.Close())
	}
	if ended {
		s.device.onEvent(Event{Graph: s.graph, OnSpare: s.spare != nil})
	}
	return err
}

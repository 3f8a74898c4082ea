package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/arrival"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/trace"
)

// options of a run; help says what each is for.
type options struct {
	Scenario         string
	Address          string // one, or replicas with commas
	AllowRemote      bool
	Bundle, Trace    string
	Arrivals         arrival.Process
	Rates            []float64
	Duration, WarmUp time.Duration
	Mix              trace.Mix
	Deadline         time.Duration
	Connections      int
	MaxInFlight      int
	JSON, HTML       string
	Title, Commit    string
	Overload         bool
	Small            int // candidates of small calls; 0: none
	Soak             bool
	Requests         int64
	Callers, PID     int
	GrowthMB         float64
	settings         map[string]string // flags that are set, as text
}

func defaults() *options {
	return &options{
		Address: "127.0.0.1:7070", Arrivals: arrival.Poisson, Rates: []float64{50}, Duration: 10 * time.Second, WarmUp: 3 * time.Second,
		Mix: trace.Mix{Seed: 1}, Deadline: time.Second, Connections: 2, MaxInFlight: 4096,
		Requests: 20000, Callers: 4, GrowthMB: 50,
	}
}

// faults lists what is wrong with values that parsed.
func (o *options) faults() usageError {
	var f usageError
	if (o.Bundle == "") == (o.Trace == "") {
		f = append(f, "give -bundle DIR or -trace FILE, one of them: requests are replayed from there")
	}
	addresses := o.addresses()
	for _, address := range addresses {
		if fault := addressFault(address, o.AllowRemote); fault != "" {
			f = append(f, fault)
		}
	}
	f = atLeast(f, "duration", o.Duration, 100*time.Millisecond)
	f = atLeast(f, "warmup", o.WarmUp, 0)
	f = atLeast(f, "deadline", o.Deadline, time.Millisecond)
	if o.Deadline > 10*time.Minute {
		f = append(f, fmt.Sprintf("-deadline is %v; it must be at most 10m, the longest time that percentiles resolve", o.Deadline))
	}
	f = atLeast(f, "connections", o.Connections, len(addresses))
	f = atLeast(f, "max-in-flight", o.MaxInFlight, 1)
	f = atLeast(f, "limit", o.Mix.Limit, 0)
	f = atLeast(f, "sessions", o.Mix.Sessions, 0)
	if o.Mix.Candidates.Set {
		f = atLeast(f, "candidates", o.Mix.Candidates.Low, 1)
		if len(o.Mix.Weights) > 0 && o.Mix.Weights[trace.Rank] == 0 {
			f = append(f, "-candidates shapes rank calls, but -calls has none; add rank to -calls or drop -candidates")
		}
	}
	f = atLeast(f, "small", o.Small, 0)
	f = atLeast(f, "requests", o.Requests, 1)
	f = atLeast(f, "callers", o.Callers, 1)
	f = atLeast(f, "growth-limit", o.GrowthMB, 0)
	if o.Overload && (o.Soak || o.WarmUp < time.Second) {
		f = append(f, "-overload needs a -warmup of 1s or more to find the capacity, and is no -soak")
	}
	if o.Small > 0 {
		f = append(f, o.smallFaults()...)
	}
	if o.Soak && o.PID <= 0 {
		f = append(f, "-soak needs -pid, the process whose memory is watched")
	}
	if !o.Soak && o.PID != 0 {
		f = append(f, "-pid is for -soak")
	}
	return f
}

// smallFaults lists what keeps small calls from being compared with large ones.
func (o *options) smallFaults() usageError {
	var f usageError
	if o.Soak || o.Overload || o.WarmUp < time.Second {
		f = append(f, "-small needs a -warmup of 1s or more to find the capacity, and is neither -soak nor -overload")
	}
	if !o.Mix.Candidates.Set || o.Mix.Candidates.Low <= o.Small {
		f = append(f, fmt.Sprintf("-small %d needs -candidates, more of them: the size of the large calls", o.Small))
	}
	if len(o.Rates) != 1 || o.Rates[0] > 1 {
		f = append(f, "-small needs one -rate up to 1, the share of the capacity: beyond it nobody promises anything")
	}
	return f
}

// addresses are the replicas; connections take them in turn.
func (o *options) addresses() []string { return strings.Split(o.Address, ",") }

// addressFault keeps load away from machines that nobody meant.
func addressFault(address string, allowRemote bool) string {
	if strings.HasPrefix(address, "unix:") {
		return ""
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return fmt.Sprintf("-address %q is not host:port; write one like 127.0.0.1:7070", address)
	}
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) || allowRemote {
		return ""
	}
	return fmt.Sprintf("-address %s is another machine; load on it takes -allow-remote", address)
}

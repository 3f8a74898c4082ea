// Package config composes the options of every package into one typed configuration: a YAML file, then
// SHORTLIST_* variables, then flags, all with the same keys. Whatever is wrong is listed at once.
package config

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/batching/dispatch"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rpc"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
	"github.com/shortlist-serving/shortlist/go/internal/telemetry"
)

// Config is everything that can be set. A key is the path of a field in snake case: gate.max_cost.
type Config struct {
	// Models is the folder of the model's releases, models/<name>. The default is models/toy.
	Models string
	// WatchInterval is how often `current` and new releases are looked for; 0 never. The default is 5s.
	WatchInterval time.Duration
	// Data answers callers. The default address is 127.0.0.1:7070.
	Data Listener
	// Admin controls releases and has reflection. The default address is 127.0.0.1:7071.
	Admin Listener
	// Metrics serves /metrics, /healthz and /readyz over HTTP. The default address is 127.0.0.1:7072.
	Metrics  Listener
	Runtime  Runtime
	Gate     batching.GateOptions // zero fields take the defaults of the package
	Pool     batching.PoolOptions
	Batching dispatch.Options
	// HistoryCache keeps encoded histories across requests.
	HistoryCache kvcache.Options
	Retrieval    retrieval.Options
	Funnel       funnel.Options
	RPC          rpc.Options
	Debug        rpc.DebugOptions
	Store        Store
	Telemetry    telemetry.Options
	Drain        Drain
}

// Listener is a port. The addresses are loopback by default: whoever opens them to a network decides to.
type Listener struct {
	Address string // host:port
}

// Runtime says what executes graphs.
type Runtime struct {
	// Library is the file libonnxruntime.so*, a folder with it, or a Python environment that has it. The
	// default, empty, looks into .venv, the folder of the binary and the system's library folders.
	Library string
	// Provider is cpu or cuda. The default is cpu.
	Provider string
	// AllowCPU serves from the CPU where cuda was asked for and cannot be had, or fails later; else that is an error.
	// The default is false.
	AllowCPU bool
	// CUDALibraries are folders with the CUDA libraries, separated by colons.
	CUDALibraries string
	// DeviceID is the GPU. The default is 0.
	DeviceID int
}

// Store says where users are kept.
type Store struct {
	// Path of the store's file. The default, empty, keeps no users: histories come inline.
	Path string
	// MaxEvents bounds the events kept of a user. The default is 2048.
	MaxEvents int
}

// Drain says how the server stops.
type Drain struct {
	// Delay is how long health says NOT_SERVING before new calls are refused, so that load balancers see it. The default is 500ms.
	Delay time.Duration
	// Limit is how long running calls may take to finish. The default is 30s.
	Limit time.Duration
}

// EnsureDefaults fills what is not set.
func (c *Config) EnsureDefaults() {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&c.Data.Address, "127.0.0.1:7070"}, {&c.Admin.Address, "127.0.0.1:7071"}, {&c.Metrics.Address, "127.0.0.1:7072"},
		{&c.Models, "models/toy"}, {&c.Runtime.Provider, "cpu"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	c.WatchInterval = 5 * time.Second
	c.HistoryCache.MaxBytes = 256 << 20
	c.Store.MaxEvents = 2048
	c.Drain = Drain{Delay: 500 * time.Millisecond, Limit: 30 * time.Second}
	c.Batching.EnsureDefaults()
	c.Retrieval.EnsureDefaults()
	c.Funnel.EnsureDefaults()
	c.RPC.EnsureDefaults()
	c.Telemetry.EnsureDefaults()
}

// Validate lists every fault.
func (c *Config) Validate() Faults {
	var faults Faults
	add := func(key, problem, fix string) { faults = append(faults, Fault{Key: key, Problem: problem, Fix: fix}) }
	for _, address := range []struct{ key, value string }{
		{"data.address", c.Data.Address}, {"admin.address", c.Admin.Address}, {"metrics.address", c.Metrics.Address},
	} {
		if _, port, err := net.SplitHostPort(address.value); err != nil || port == "" {
			add(address.key, fmt.Sprintf("%q is not host:port", address.value), "write it like 127.0.0.1:7070")
		}
	}
	if c.Admin.Address == c.Data.Address && !strings.HasSuffix(c.Data.Address, ":0") {
		add("admin.address", "is the data address: releases must not be controlled from there", "use another port")
	}
	if c.Runtime.Provider != "cpu" && c.Runtime.Provider != "cuda" {
		add("runtime.provider", fmt.Sprintf("%q is not a provider", c.Runtime.Provider), "use cpu or cuda")
	}
	if c.Runtime.DeviceID < 0 {
		add("runtime.device_id", "is negative", "number the GPUs from 0")
	}
	if c.WatchInterval < 0 {
		add("watch_interval", "is negative", "use 0 to watch nothing")
	}
	if c.Store.MaxEvents < 1 {
		add("store.max_events", "is not positive", "keep at least the history window of the release")
	}
	if c.Pool.Nice > 19 {
		add("pool.nice", fmt.Sprintf("%d is beyond the lowest priority", c.Pool.Nice), "use 0 to 19")
	}
	if c.Drain.Delay < 0 || c.Drain.Limit <= 0 {
		add("drain", fmt.Sprintf("delay %s and limit %s", c.Drain.Delay, c.Drain.Limit), "use a delay of 0 or more and a positive limit")
	}
	for _, part := range []struct {
		prefix string
		faults []error
	}{
		{"gate", c.Gate.Validate()},
		{"pool", negatives(map[string]int64{"workers": int64(c.Pool.Workers), "max_queue": int64(c.Pool.MaxQueue), "nice": int64(c.Pool.Nice)})},
		{"history_cache", negatives(map[string]int64{"max_bytes": c.HistoryCache.MaxBytes})},
		{"batching", c.Batching.Validate()}, {"retrieval", c.Retrieval.Validate()}, {"funnel", c.Funnel.Validate()}, {"rpc", c.RPC.Validate()}, {"debug", c.Debug.Validate()}, {"telemetry", c.Telemetry.Validate()},
	} {
		for _, err := range part.faults {
			name, problem, _ := strings.Cut(err.Error(), ": ")
			add(part.prefix+"."+name, problem, "change it, or remove the key to take the default")
		}
	}
	return faults
}

func negatives(values map[string]int64) []error {
	var faults []error
	for name, value := range values {
		if value < 0 {
			faults = append(faults, fmt.Errorf("%s: %d is negative", name, value))
		}
	}
	return faults
}

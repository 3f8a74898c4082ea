package batching

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// GateOptions configure a Gate; zero fields take the defaults.
type GateOptions struct {
	MaxCost    int64         // most cost admitted at once; default 8192 candidates for each core, at least 16384
	MinCost    int64         // least that the adaptive limit falls to; default 512; MaxCost fixes the limit
	MaxWaiting int           // requests waiting; default 256
	MaxWait    time.Duration // a request that is expected to wait a quarter of it is shed at once; default 100 ms; who waits may wait longer: Gate.longestWait
	MaxTenants int           // tenants told apart; default 256, the others share one place
	// TenantWeights are shares under contention, like "search=3,mail=0.5"; a tenant that is not named has 1.
	// Metrics name these tenants only.
	TenantWeights string
}

// EnsureDefaults fills what is not set.
func (o *GateOptions) EnsureDefaults() {
	if o.MaxCost <= 0 {
		o.MaxCost = max(16384, 8192*int64(runtime.GOMAXPROCS(0)))
	}
	if o.MinCost <= 0 {
		o.MinCost = 512
	}
	o.MinCost = min(o.MinCost, o.MaxCost)
	if o.MaxWaiting <= 0 {
		o.MaxWaiting = 256
	}
	if o.MaxWait <= 0 {
		o.MaxWait = 100 * time.Millisecond
	}
	if o.MaxTenants <= 0 {
		o.MaxTenants = 256
	}
}

// Validate lists every fault as "field: problem".
func (o *GateOptions) Validate() []error {
	var faults []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"max_cost", o.MaxCost}, {"min_cost", o.MinCost}, {"max_waiting", int64(o.MaxWaiting)}, {"max_wait", int64(o.MaxWait)},
		{"max_tenants", int64(o.MaxTenants)},
	} {
		if f.value < 0 {
			faults = append(faults, fmt.Errorf("%s: %d is negative", f.name, f.value))
		}
	}
	if o.MaxCost > 0 && o.MinCost > o.MaxCost {
		faults = append(faults, fmt.Errorf("min_cost: %d is over max_cost", o.MinCost))
	}
	if _, err := o.weights(); err != nil {
		faults = append(faults, fmt.Errorf("tenant_weights: %w", err))
	}
	return faults
}

// weights parses TenantWeights.
func (o *GateOptions) weights() (map[string]float64, error) {
	weights := make(map[string]float64)
	if o.TenantWeights == "" {
		return weights, nil
	}
	for _, part := range strings.Split(o.TenantWeights, ",") {
		name, number, _ := strings.Cut(strings.TrimSpace(part), "=")
		weight, err := strconv.ParseFloat(number, 64)
		if name == "" || err != nil || math.IsNaN(weight) || weight < 0.001 || weight > 1000 {
			return weights, fmt.Errorf("%q is not name=weight with a weight of 0.001 to 1000", part)
		}
		weights[name] = weight
	}
	return weights, nil
}

// Reasons why a request was shed: the closed set of GateStats.Shed.
const (
	ShedExpected  = "expected_wait" // it would have waited too long
	ShedWaited    = "waited"        // it waited too long
	ShedFull      = "room_full"
	ShedDisplaced = "displaced" // a more important or a fairer one took its place
	ShedDeadline  = "deadline"
	ShedCanceled  = "canceled" // the caller left
	ShedDraining  = "draining"
)

// ShedReasons lists the closed set.
var ShedReasons = []string{ShedExpected, ShedWaited, ShedFull, ShedDisplaced, ShedDeadline, ShedCanceled, ShedDraining}

func shedReason(err error) string {
	var late *rank.DeadlineError
	var full *rank.OverloadedError
	switch {
	case errors.As(err, &late):
		return ShedDeadline
	case errors.As(err, &full):
		return ShedWaited
	}
	return ShedCanceled
}

type counts struct {
	admitted int64
	cost     int64
	shed     map[string]int64
}

// GateStats is what a gate does at one moment, and has done since its start.
type GateStats struct {
	Limit    int64 // cost that may be inside now
	InUse    int64
	Inside   int // requests
	Waiting  int
	Tenants  int
	Admitted int64            // requests
	Cost     int64            // of the admitted ones
	Shed     map[string]int64 // requests by reason
	// TenantCost is what the tenants of TenantWeights were admitted with; "other" is the rest.
	TenantCost map[string]int64
}

// Stats describes the gate.
func (g *Gate) Stats() GateStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := GateStats{
		Limit: int64(g.limiter.now()), InUse: g.inUse, Inside: g.admitted + g.passing, Waiting: g.room.count, Tenants: len(g.room.tenants),
		Admitted: g.counts.admitted, Cost: g.counts.cost, Shed: maps.Clone(g.counts.shed), TenantCost: make(map[string]int64),
	}
	named := int64(0)
	for _, name := range slices.Sorted(maps.Keys(g.room.weights)) {
		s.TenantCost[name] = 0
		if t := g.room.tenants[name]; t != nil {
			s.TenantCost[name] = t.admitted
			named += t.admitted
		}
	}
	s.TenantCost[otherTenants] += s.Cost - named
	return s
}

// InUse is the admitted cost and the number of waiting requests.
func (g *Gate) InUse() (cost int64, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inUse, g.room.count
}

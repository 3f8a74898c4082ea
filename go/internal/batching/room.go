package batching

import (
	"slices"
	"sync"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// priorities is the number of values of rank.Priority.
const priorities = int(rank.Batch) + 1

// waiter is a request in the waiting room; ready gets nil when it was admitted, else why not.
type waiter struct {
	cost     int64
	priority rank.Priority
	tenant   *tenant
	deadline time.Time  // zero: none
	probed   bool       // admitted while the baseline was measured; read after ready
	reserved bool       // admitted into the reserve of little requests
	ready    chan error // nil: admitted at once
	left     sync.Once
}

// tenant is one of those who share the gate.
type tenant struct {
	name     string
	weight   float64
	tag      float64 // virtual time at which its next request starts
	inside   int     // admitted requests
	waiting  [priorities][]*waiter
	waitCost [priorities]int64
	admitted int64 // cost, since the start
}

func (t *tenant) idle() bool {
	if t.inside > 0 {
		return false
	}
	for _, cost := range t.waitCost {
		if cost > 0 {
			return false
		}
	}
	return true
}

// room is the waiting room: strict priorities and, within one, start-time fair queueing over tenants
// (Goyal, Vin and Cheng, 1996) by cost and weight, oldest first within a tenant. The caller guards it.
type room struct {
	tenants    map[string]*tenant
	maxTenants int
	weights    map[string]float64
	virtual    float64 // start tag of the request admitted last
	count      int
	cost       int64
}

// otherTenants is the name under which those past the bound share one place.
const otherTenants = "other"

// tenant finds or makes a tenant. Past the bound, idle ones are forgotten; when none is, the new one
// shares the place of the others.
func (r *room) tenant(name string) *tenant {
	if t := r.tenants[name]; t != nil {
		return t
	}
	if len(r.tenants) >= r.maxTenants && r.weights[name] == 0 {
		for other, t := range r.tenants {
			if t.idle() && t.tag <= r.virtual && r.weights[other] == 0 {
				delete(r.tenants, other)
			}
		}
		if len(r.tenants) >= r.maxTenants {
			name = otherTenants
			if t := r.tenants[name]; t != nil {
				return t
			}
		}
	}
	t := &tenant{name: name, weight: r.weights[name], tag: r.virtual}
	if t.weight == 0 {
		t.weight = 1
	}
	r.tenants[name] = t
	return t
}

// admit moves the virtual time and charges the tenant.
func (r *room) admit(t *tenant, cost int64) {
	start := max(t.tag, r.virtual)
	r.virtual = start
	t.tag = start + float64(cost)/t.weight
	t.inside++
	t.admitted += cost
}

func (r *room) add(w *waiter) {
	t := w.tenant
	if t.idle() {
		t.tag = max(t.tag, r.virtual)
	}
	t.waiting[w.priority] = append(t.waiting[w.priority], w)
	t.waitCost[w.priority] += w.cost
	r.count++
	r.cost += w.cost
}

// remove takes w out; false when it is not there any more.
func (r *room) remove(w *waiter) bool {
	list := &w.tenant.waiting[w.priority]
	at := slices.Index(*list, w)
	if at < 0 {
		return false
	}
	*list = slices.Delete(*list, at, at+1)
	w.tenant.waitCost[w.priority] -= w.cost
	r.count--
	r.cost -= w.cost
	return true
}

// first is the waiter to admit next, nil when nobody waits.
func (r *room) first() *waiter {
	if r.count == 0 {
		return nil
	}
	for priority := range priorities {
		var next *tenant
		for _, t := range r.tenants {
			if len(t.waiting[priority]) > 0 && (next == nil || t.tag < next.tag || t.tag == next.tag && t.name < next.name) {
				next = t
			}
		}
		if next != nil {
			return next.waiting[priority][0]
		}
	}
	return nil
}

// ahead is the cost that would be admitted before, and with, a new request.
func (r *room) ahead(t *tenant, cost int64, priority rank.Priority) float64 {
	own := float64(t.waitCost[priority] + cost)
	total := own
	if r.count == 0 {
		return total
	}
	for _, other := range r.tenants {
		for p := range priority {
			total += float64(other.waitCost[p])
		}
		if other != t {
			total += min(float64(other.waitCost[priority]), own*other.weight/t.weight)
		}
	}
	return total
}

// victim is who makes room in a full room for a request of this tenant and priority: the newest of the
// least important ones, of the tenant that has most waiting for its weight. Nil: nobody has to.
func (r *room) victim(t *tenant, cost int64, priority rank.Priority) *waiter {
	for p := rank.Priority(priorities - 1); p >= priority && p < rank.Priority(priorities); p-- {
		var most *tenant
		for _, other := range r.tenants {
			if len(other.waiting[p]) == 0 {
				continue
			}
			a, b := float64(other.waitCost[p])/other.weight, 0.0
			if most != nil {
				b = float64(most.waitCost[p]) / most.weight
			}
			if most == nil || a > b || a == b && other.name < most.name {
				most = other
			}
		}
		switch {
		case most == nil:
			continue
		case p == priority && float64(most.waitCost[p])/most.weight <= float64(t.waitCost[p]+cost)/t.weight:
			return nil
		}
		return most.waiting[p][len(most.waiting[p])-1]
	}
	return nil
}

// all lists the waiters.
func (r *room) all() []*waiter {
	var list []*waiter
	for _, t := range r.tenants {
		for _, waiting := range t.waiting {
			list = append(list, waiting...)
		}
	}
	return list
}

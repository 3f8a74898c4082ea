package trace

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
)

// Kind is the method that a call uses.
type Kind string

// The kinds of calls that take a RecommendRequest.
const (
	Rank      Kind = "rank"
	Recommend Kind = "recommend"
	Retrieve  Kind = "retrieve"
)

// Kinds lists them in the order of reports.
var Kinds = []Kind{Rank, Recommend, Retrieve}

// Range is an inclusive range of counts; the zero value is "as recorded".
type Range struct {
	Low, High int
	Set       bool
}

// ParseRange reads "N" or "A..B".
func ParseRange(text string) (Range, error) {
	low, high, ranged := strings.Cut(text, "..")
	if !ranged {
		high = low
	}
	a, errA := strconv.Atoi(low)
	b, errB := strconv.Atoi(high)
	if errA != nil || errB != nil || a < 0 || b < a {
		return Range{}, fmt.Errorf("%q is not a count; write one like 1000, or a range like 1..3000", text)
	}
	return Range{Low: a, High: b, Set: true}, nil
}

func (r Range) String() string {
	switch {
	case !r.Set:
		return "as recorded"
	case r.Low == r.High:
		return strconv.Itoa(r.Low)
	}
	return fmt.Sprintf("%d..%d", r.Low, r.High)
}

func (r Range) draw(rng *rand.Rand) int { return r.Low + rng.IntN(r.High-r.Low+1) }

// Mix says what a run asks for.
type Mix struct {
	Weights    map[Kind]float64 // empty: Rank where the recorded request has candidates, else Recommend
	Candidates Range            // of Rank calls, drawn without repetition from the items
	History    Range            // events, drawn from the items: a fresh history in every call, so no cache can help
	Sessions   int              // users at a time who come back, each with the history of before and new events; 0: none do
	Limit      int              // 0: as recorded
	Ordered    bool             // requests in the order of the trace, as users sent them; else in a seeded order
	Seed       uint64
}

// Call is one request to send.
type Call struct {
	Kind    Kind
	Request *pb.RecommendRequest
}

// Generator makes call i from the seed and i alone, so that a run repeats whatever the timing was.
type Generator struct {
	trace  *Trace
	mix    Mix
	ranked []*pb.RecommendRequest // recorded requests that carry candidates
	order  []int
}

// NewGenerator lists every reason why the trace cannot give the mix.
func NewGenerator(t *Trace, mix Mix) (*Generator, error) {
	g := &Generator{trace: t, mix: mix}
	for _, r := range t.Requests {
		if count(r.GetCandidates()) > 0 {
			g.ranked = append(g.ranked, r)
		}
	}
	var faults []error
	if mix.Weights[Rank] > 0 && len(g.ranked) == 0 && !mix.Candidates.Set {
		faults = append(faults, errors.New("-calls wants rank, but no recorded request has candidates; add -candidates M"))
	}
	if have := count(t.Items); mix.Candidates.Set && mix.Candidates.High > have {
		faults = append(faults, fmt.Errorf("-candidates wants %d different items, but only %d are known; lower it, or use -bundle of a larger catalog", mix.Candidates.High, have))
	}
	if mix.History.High > 0 && count(t.Items) == 0 {
		faults = append(faults, errors.New("-history needs items, but the trace names none; use -bundle"))
	}
	if len(t.Items.GetInts()) > 0 && len(t.Items.GetStrings()) > 0 {
		faults = append(faults, errors.New("the trace mixes integer and string item ids; record it from one release"))
	}
	if err := mix.sessionFaults(); err != nil {
		faults = append(faults, err)
	}
	g.order = rand.New(rand.NewPCG(mix.Seed, 0)).Perm(len(t.Requests))
	if mix.Ordered {
		slices.Sort(g.order)
	}
	return g, errors.Join(faults...)
}

// WithCandidates makes other calls of the same mix, of n candidates each.
func (g *Generator) WithCandidates(n int) *Generator {
	other := *g
	other.mix.Candidates = Range{Low: n, High: n, Set: true}
	other.mix.Seed++
	return &other
}

// Call makes call i. Requests come in the order of the mix, each once a round.
func (g *Generator) Call(i uint64) Call {
	rng := rand.New(rand.NewPCG(g.mix.Seed, i+1))
	from, visits := i, 0
	if g.mix.Sessions > 0 {
		from, visits = g.visit(i) // a user keeps the features of one recorded request
	}
	recorded := g.trace.Requests[g.order[from%uint64(len(g.order))]]
	kind := g.kind(recorded, rng)
	if kind == Rank && !g.mix.Candidates.Set && count(recorded.GetCandidates()) == 0 {
		recorded = g.ranked[rng.IntN(len(g.ranked))]
	}
	r := proto.CloneOf(recorded)
	r.RequestId = "" // the server makes one
	switch {
	case kind != Rank && len(g.mix.Weights) > 0:
		r.Candidates = nil
	case kind == Rank && g.mix.Candidates.Set:
		r.Candidates = g.sample(g.mix.Candidates.draw(rng), rng)
	}
	switch {
	case g.mix.Sessions > 0:
		begun, now := g.events(from, visits)
		g.setHistory(r, begun, now, rand.New(rand.NewPCG(g.mix.Seed+1, from)))
		r.User.Id = fmt.Sprintf("session-%d", from)
	case g.mix.History.Set:
		n := g.mix.History.draw(rng)
		g.setHistory(r, n, n, rng)
	}
	if g.mix.Limit > 0 {
		r.Limit = int32(g.mix.Limit)
	}
	return Call{Kind: kind, Request: r}
}

func (g *Generator) kind(recorded *pb.RecommendRequest, rng *rand.Rand) Kind {
	var total float64
	for _, k := range Kinds {
		total += g.mix.Weights[k]
	}
	if total == 0 {
		if count(recorded.GetCandidates()) > 0 {
			return Rank
		}
		return Recommend
	}
	at := rng.Float64() * total
	drawn := Recommend
	for _, k := range Kinds {
		if g.mix.Weights[k] == 0 {
			continue
		}
		drawn = k // the last kind with a weight takes what rounding leaves
		if at -= g.mix.Weights[k]; at < 0 {
			break
		}
	}
	return drawn
}

// sample draws n different ids by Floyd's algorithm, then shuffles: O(n) whatever the catalog's size.
func (g *Generator) sample(n int, rng *rand.Rand) *pb.ItemIds {
	have := count(g.trace.Items)
	taken := make(map[int]bool, n)
	rows := make([]int, 0, n)
	for j := have - n; j < have; j++ {
		row := rng.IntN(j + 1)
		if taken[row] {
			row = j
		}
		taken[row] = true
		rows = append(rows, row)
	}
	rng.Shuffle(n, func(a, b int) { rows[a], rows[b] = rows[b], rows[a] })
	return g.pick(rows)
}

func (g *Generator) pick(rows []int) *pb.ItemIds {
	ids := &pb.ItemIds{}
	for _, row := range rows {
		if len(g.trace.Items.GetStrings()) > 0 {
			ids.Strings = append(ids.Strings, g.trace.Items.Strings[row])
		} else {
			ids.Ints = append(ids.Ints, g.trace.Items.Ints[row])
		}
	}
	return ids
}

// setHistory replaces the history by n events a minute apart, of which the first begun end at the trace's newest
// one; actions and times are left out where no recorded history has any. More events from the same rng leave
// the first ones as they are.
func (g *Generator) setHistory(r *pb.RecommendRequest, begun, n int, rng *rand.Rand) {
	rows := make([]int, n)
	fresh := &pb.History{}
	for i := range rows {
		rows[i] = rng.IntN(count(g.trace.Items))
		if len(g.trace.actions) > 0 {
			fresh.Actions = append(fresh.Actions, g.trace.actions[rng.IntN(len(g.trace.actions))])
		}
	}
	fresh.Items = g.pick(rows)
	if newest := g.trace.newest; newest > 0 {
		for i := range n {
			fresh.Times = append(fresh.Times, newest-60*int64(begun-1-i))
		}
	}
	if r.Time != 0 {
		r.Time += 60 * int64(n-begun)
	}
	if r.User == nil {
		r.User = &pb.User{}
	}
	r.User.History = fresh
}

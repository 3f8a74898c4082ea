package funnel

import (
	"container/list"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// entryBytes is what an answer takes beside its lists: the entry, its place in the list and in the map.
const entryBytes = 256

// cache keeps the last full answer of each user and kind of request, the least recently used ones giving
// way to a bound in bytes. What it holds is an order, not a permission: filters are applied again when it
// is used. The nil cache keeps nothing. It is safe for concurrent use.
type cache struct {
	most int64
	age  time.Duration
	seed maphash.Seed

	mu      sync.Mutex
	bytes   int64
	entries map[uint64]*list.Element
	recent  *list.List // of *kept, last used first
}

// kept is one answer; its lists are those of the result and never change.
type kept struct {
	key     uint64
	user    string
	release string
	at      time.Time
	rows    []int64
	scores  []float32
}

func (k *kept) bytes() int64 { return entryBytes + int64(len(k.user)) + 12*int64(len(k.rows)) }

func newCache(most int64, age time.Duration) *cache {
	if most <= 0 {
		return nil
	}
	return &cache{most: most, age: age, seed: maphash.MakeSeed(), entries: make(map[uint64]*list.Element), recent: list.New()}
}

// put keeps the answer of a full run.
func (c *cache) put(q *rank.Query, result *rank.Result) {
	if c == nil || !cacheable(q) || result.Coverage.Rung != rank.RungFull || len(result.Rows) == 0 {
		return
	}
	entry := &kept{key: c.key(q), user: q.UserID, release: result.ReleaseID, at: time.Now(), rows: result.Rows, scores: result.Scores}
	if entry.bytes() > c.most {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[entry.key]; old != nil {
		c.remove(old)
	}
	c.entries[entry.key] = c.recent.PushFront(entry)
	c.bytes += entry.bytes()
	for c.bytes > c.most {
		c.remove(c.recent.Back())
	}
}

// get is the kept answer of the query from this release, nil when there is none or it is too old.
func (c *cache) get(q *rank.Query, release string) *kept {
	if c == nil || !cacheable(q) {
		return nil
	}
	key := c.key(q)
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.entries[key]
	if element == nil {
		return nil
	}
	entry := element.Value.(*kept)
	if entry.release != release || time.Since(entry.at) > c.age {
		c.remove(element) // it will never be right again
		return nil
	}
	if entry.user != q.UserID { // equal keys of two users
		return nil
	}
	c.recent.MoveToFront(element)
	return entry
}

func (c *cache) remove(element *list.Element) {
	entry := c.recent.Remove(element).(*kept)
	delete(c.entries, entry.key)
	c.bytes -= entry.bytes()
}

// cacheable says whether the answer is one that an ordinary request of the user would get.
func cacheable(q *rank.Query) bool {
	d := q.Debug
	return d == nil || d.Explain.Len() == 0 && d.Force.Len() == 0 && len(d.Override) == 0 && d.ReleaseID == "" && !d.ExplainResults
}

// key stands for the user and the kind of request. Of a user with an id neither history nor features count,
// because they change from call to call, and the last answer is what is wanted.
func (c *cache) key(q *rank.Query) uint64 {
	h := hasher{seed: c.seed}
	h.SetSeed(c.seed)
	h.number(uint64(q.Mode), uint64(q.Limit), flag(q.Filters.KeepSeen)|2*flag(q.Filters.KeepUnavailable))
	h.text(q.UserID)
	if q.UserID == "" {
		if q.History != nil {
			h.ids(q.History.Items)
		}
		h.features(q.User)
	}
	h.features(q.Context)
	for _, f := range q.Filters.Columns {
		h.text(f.Column)
		h.values(f.AnyOf)
		h.values(f.NoneOf)
		h.bound(f.Min)
		h.bound(f.Max)
	}
	if q.Candidates != nil {
		h.ids(*q.Candidates)
	}
	return h.Sum64()
}

// hasher writes the parts of a query, each with its length, so that no two lists of parts look the same.
type hasher struct {
	maphash.Hash
	seed maphash.Seed
}

func flag(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

func (h *hasher) number(numbers ...uint64) {
	for _, n := range numbers {
		maphash.WriteComparable(&h.Hash, n)
	}
}

func (h *hasher) text(s string) {
	h.number(uint64(len(s)))
	_, _ = h.WriteString(s) // never fails
}

func (h *hasher) ids(ids rank.ItemIDs) {
	h.number(uint64(len(ids.Ints)), uint64(len(ids.Strings)))
	for _, id := range ids.Ints {
		h.number(uint64(id))
	}
	for _, id := range ids.Strings {
		h.text(id)
	}
}

// features adds the hashes of the columns, so that the order of the map does not count.
func (h *hasher) features(features rank.Features) {
	var sum uint64
	for name, value := range features {
		one := hasher{seed: h.seed}
		one.SetSeed(h.seed)
		one.text(name)
		one.values([]rank.Value{value})
		sum += one.Sum64()
	}
	h.number(uint64(len(features)), sum)
}

func (h *hasher) values(values []rank.Value) {
	h.number(uint64(len(values)))
	for _, v := range values {
		h.number(uint64(v.Kind), uint64(v.Integer), math.Float64bits(v.Number), uint64(len(v.Texts)))
		h.text(v.Text)
		for _, text := range v.Texts {
			h.text(text)
		}
	}
}

func (h *hasher) bound(bound *float64) {
	if bound == nil {
		h.number(0)
		return
	}
	h.number(1, math.Float64bits(*bound))
}

package stage

import (
	"math"
	"slices"
	"sync/atomic"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/vector"
)

// Availability knows which rows of a catalog may be shown at a time. Between two times at which an item comes
// or goes the set is the same, so it is worked out once and kept.
type Availability struct {
	catalog *bundle.Catalog
	changes []int64 // ascending
	// kept sets, each at its number modulo the size: live traffic is in one or two of them, and requests about
	// other times mostly fall beside it.
	kept [8]atomic.Pointer[available]
}

// available is the set from changes[number-1] until changes[number]. It is never written again.
type available struct {
	number int
	rows   vector.Bitmap
}

// NewAvailability reads the times at which the set changes.
func NewAvailability(c *bundle.Catalog) *Availability {
	return &Availability{catalog: c, changes: c.AvailabilityChanges()}
}

// At is the set of a time (unix seconds), nil where every item may always be shown. It is shared: do not write to it.
func (a *Availability) At(time int64) vector.Bitmap {
	if !a.catalog.HasAvailability() {
		return nil
	}
	number := len(a.changes)
	if time < math.MaxInt64 {
		number, _ = slices.BinarySearch(a.changes, time+1) // the changes up to and with that time
	}
	slot := &a.kept[number%len(a.kept)]
	if set := slot.Load(); set != nil && set.number == number {
		return set.rows
	}
	set := &available{number: number, rows: vector.Bitmap(nil).Fill(a.catalog.Len())}
	for row := range int64(a.catalog.Len()) {
		if !a.catalog.Available(row, time) {
			set.rows.Remove(row)
		}
	}
	slot.Store(set)
	return set.rows
}

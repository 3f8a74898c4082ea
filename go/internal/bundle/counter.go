package bundle

import bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"

// NoSegment stands for a segment value that a counter does not hold: all its rates are 0.
const NoSegment = -1

// Counter is one cross feature: for each segment, the rates of the items engaged in it.
type Counter struct {
	Cross *bundlev1.CrossColumn
}

// ByRow says whether segments are catalog rows (history.last_item) and not texts.
func (c *Counter) ByRow() bool { return c.Cross.GetSegment() == SegmentLastItem }

// Find is the segment of a text value, NoSegment when the counter has none.
func (c *Counter) Find(value string) int { return NoSegment }

// FindRow is the segment of a catalog row, NoSegment for a row outside the catalog.
func (c *Counter) FindRow(row int64) int { return NoSegment }

// Fill writes the rate of rows[i] in the segment to out[i*stride]; 0 where it has none. out must hold
// (len(rows)-1)*stride+1 elements; every row must be a row of the catalog.
func (c *Counter) Fill(segment int, rows []int64, out []float32, stride int) {}

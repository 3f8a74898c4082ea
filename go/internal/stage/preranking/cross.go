package preranking

import (
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// FillCross looks up the counters of all candidates: Cross [M,C]. A missing segment or pair is 0.
func FillCross(r *stage.Request) {
	counters := r.Plan.Snapshot.Bundle.Counters
	cross := stage.Resize(&r.Cross, len(r.Rows)*len(counters))
	clear(cross)
	if len(r.Rows) == 0 {
		return
	}
	for c, counter := range counters {
		segment := bundle.NoSegment
		if counter.ByRow() {
			segment = counter.FindRow(r.History.LastItem)
		} else if value, ok := r.Plan.Encoder.Segment(counter.Cross.GetSegment(), r.Query.User, r.Query.Context); ok {
			segment = counter.Find(value)
		}
		if segment != bundle.NoSegment {
			counter.Fill(segment, r.Rows, cross[c:], len(counters))
		}
	}
}

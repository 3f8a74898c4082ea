package funnel

import "github.com/shortlist-serving/shortlist/go/internal/rank"

// What the parts of a request cost, in candidates that pass through the ranker; bench/rungs.py
// measures the rungs. What a history costs is measured when a release is loaded: see prices.
const (
	requestCost     = 16 // decoding, assembling and answering any request
	retrievalShare  = 8  // candidates retrieved for the cost of one ranked
	preranksPerRank = 16 // candidates preranked for the cost of one ranked
	fewerShare      = 4  // of the candidates, one in so many is ranked on the rung of fewer candidates
)

// work is what a request costs on a rung: the only estimate that admission uses.
type work struct {
	candidates int64 // that reach the preranker
	sequence   int64 // events to encode for the query vector
	history    int64 // events to encode for the ranker
	retrieve   bool  // the candidates have to be found
	mode       rank.Mode
}

func (w work) cost(rung rank.Rung, p *prices) int64 {
	cost := int64(requestCost)
	if rung >= rank.RungCached {
		return cost
	}
	if w.retrieve {
		cost += w.candidates / retrievalShare
	}
	if w.retrieve || rung < rank.RungRetrievalOrder {
		cost += p.sequence(w.sequence)
	}
	if rung >= rank.RungRetrievalOrder || w.mode == rank.Retrieve {
		return cost
	}
	cost += w.candidates / preranksPerRank
	switch {
	case rung == rank.RungFewerCandidates:
		cost += w.candidates/fewerShare + p.history(w.history)
	case rung < rank.RungFewerCandidates:
		cost += w.candidates + p.history(w.history)
	}
	return cost
}

// prices are what a release's histories cost, in candidates that pass through its ranker.
type prices struct {
	fixed, event                 float64 // for the ranker
	sequenceFixed, sequenceEvent float64 // for the query vector
	most                         int64   // events that are encoded at most
}

// pricesOf takes them from the measurements of a release.
func pricesOf(t *Tuning) *prices {
	candidate := float64(max(t.Rank.Each, 1))
	return &prices{
		fixed: float64(t.History.Fixed) / candidate, event: float64(t.History.Each) / candidate,
		sequenceFixed: float64(t.Sequence.Fixed) / candidate, sequenceEvent: float64(t.Sequence.Each) / candidate, most: int64(t.Events),
	}
}

// history is the cost of encoding so many events for the ranker; without prices an event costs as much as a candidate.
func (p *prices) history(events int64) int64 {
	if p == nil || events == 0 {
		return events
	}
	return int64(p.fixed + p.event*float64(min(events, p.most)))
}

// sequence is the same for the query vector.
func (p *prices) sequence(events int64) int64 {
	if p == nil || events == 0 {
		return events
	}
	return int64(p.sequenceFixed + p.sequenceEvent*float64(min(events, p.most)))
}

// expected is the work of a query before anything is known of it.
func (f *Funnel) expected(q *rank.Query) work {
	w := work{candidates: f.opts.RetrievalCost, retrieve: true, mode: q.Mode}
	if q.Candidates != nil {
		w.candidates, w.retrieve = int64(q.Candidates.Len()), false
	}
	if q.History != nil {
		w.history = int64(q.History.Items.Len())
		w.sequence = w.history
	}
	return w
}

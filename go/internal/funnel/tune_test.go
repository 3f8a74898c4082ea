package funnel

import (
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

func TestLinear(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for name, test := range map[string]struct {
		n    [2]int
		took [2]time.Duration
		want Linear
	}{
		"a line":               {[2]int{10, 110}, [2]time.Duration{3 * ms, 13 * ms}, Linear{2 * ms, ms / 10}},
		"noise made it fall":   {[2]int{10, 100}, [2]time.Duration{3 * ms, 2 * ms}, Linear{0, 2 * ms / 100}},
		"steeper than its end": {[2]int{10, 20}, [2]time.Duration{1 * ms, 4 * ms}, Linear{0, 4 * ms / 20}},
		"one size only":        {[2]int{8, 8}, [2]time.Duration{ms, ms}, Linear{0, ms / 8}},
		"too fast to see":      {[2]int{1, 1}, [2]time.Duration{0, 0}, Linear{0, 1}},
	} {
		if got := linear(test.n, test.took); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// The chunk comes from measurements, or from the options; either way it is what the ranker then gets, and
// the scheduler counts in measured microseconds.
func TestTune(t *testing.T) {
	t.Parallel()
	for _, configured := range []int{0, 3} {
		p, repo, _, id := replayWorld(t, ranktest.Options{})
		p.funnel.opts.Chunk = configured
		s, unpin, err := repo.AcquireRelease(id)
		if err != nil {
			t.Fatal(err)
		}
		defer unpin()
		tuning, err := p.Tune(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		plan := s.Prepared.(*Release).plan
		if plan.Chunk() != tuning.Chunk || tuning.Chunk < 1 || configured > 0 && tuning.Chunk != configured {
			t.Errorf("configured %d: the plan has chunks of %d, the tuning of %d", configured, plan.Chunk(), tuning.Chunk)
		}
		for name, pace := range map[string]*stage.Pace{
			"sequence": &plan.SequenceEncoder.Pace, "history": &plan.HistoryEncoder.Pace, "query": &plan.QueryPace, "prerank": &plan.PrerankPace, "rank": &plan.RankPace,
		} {
			if pace.For(1_000_000) < time.Microsecond {
				t.Errorf("the pace of %s is not known", name)
			}
		}
	}
}

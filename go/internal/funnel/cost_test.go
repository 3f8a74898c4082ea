package funnel

import (
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
)

// A history costs what the release's encoder was measured to take, and nothing beyond its window.
func TestHistoriesCostWhatTheyTake(t *testing.T) {
	t.Parallel()
	us := time.Microsecond
	p := pricesOf(&Tuning{Events: 200, History: Linear{Fixed: 100 * us, Each: 2 * us}, Rank: Linear{Each: 5 * us}})
	for name, test := range map[string]struct {
		prices *prices
		events int64
		want   int64
	}{
		"none": {p, 0, 0}, "some": {p, 50, 20 + 20}, "past the window": {p, 10_000, 20 + 80}, "not measured": {nil, 50, 50},
	} {
		if got := test.prices.history(test.events); got != test.want {
			t.Errorf("%s: %d candidates, want %d", name, got, test.want)
		}
		w := work{candidates: 1000, history: test.events}
		if full, least := w.cost(rank.RungFull, test.prices), w.cost(rank.RungPrerankerOrder, test.prices); full-least != 1000+test.want {
			t.Errorf("%s: ranking costs %d more than preranking", name, full-least)
		}
	}
}

// Admission counts with the prices of the release that serves, from its first answer on.
func TestAdmissionLearnsThePrices(t *testing.T) {
	t.Parallel()
	p, repo, _, id := replayWorld(t, ranktest.Options{})
	s, unpin, err := repo.AcquireRelease(id)
	if err != nil {
		t.Fatal(err)
	}
	defer unpin()
	if _, err := repo.Activate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	p.funnel.releases = repo // a replayer pins its releases itself
	measured := &prices{event: 7, most: 3}
	s.Prepared.(*Release).prices.Store(measured)
	if _, unpin, err := p.funnel.pin(&rank.Query{Debug: &rank.Debug{ReleaseID: id}}); err != nil || p.funnel.prices.Load() != nil {
		t.Errorf("a release of a debug block sets the prices: %v", err)
	} else {
		unpin()
	}
	if _, unpin, err := p.funnel.pin(&rank.Query{}); err != nil || p.funnel.prices.Load() != measured {
		t.Errorf("the serving release does not set the prices: %v", err)
	} else {
		unpin()
	}
	if _, err := p.Tune(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if tuned := s.Prepared.(*Release).prices.Load(); tuned == measured || tuned.most < 1 || tuned.event <= 0 {
		t.Errorf("tuning set the prices %+v", tuned)
	}
}

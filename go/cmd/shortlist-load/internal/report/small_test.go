package report

import (
	"testing"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/drive"
)

func TestSmallCallsAreJudgedByTheirSlowing(t *testing.T) {
	t.Parallel()
	whole := func(n int64) *drive.Step { // answers of 1..n ms, all at the full rung
		s := step(10, n)
		s.Rungs, s.Sent = map[string]int64{drive.Full: n}, n
		return s
	}
	degraded := whole(300)
	degraded.Rungs = map[string]int64{drive.Full: 299, "popular": 1}
	shed := whole(300)
	shed.Sent++
	for name, test := range map[string]struct {
		alone, among *drive.Step
		kept         bool
	}{
		"as fast":         {whole(300), whole(300), true},
		"slower":          {whole(300), whole(500), true},
		"too slow":        {whole(300), whole(700), false},
		"too few":         {whole(50), whole(300), false},
		"some degraded":   {whole(300), degraded, false},
		"one was refused": {whole(300), shed, false},
	} {
		l := NewLoad(header(), []*drive.Step{test.alone, test.among})
		l.JudgeSmall(100, l.Steps[0], l.Steps[1])
		if l.Kept() != test.kept {
			t.Errorf("%s: %+v", name, l.Verdicts)
		}
	}
}

package report

import (
	"strings"
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/drive"
)

// overloadedStep answers n calls of 1..n ms in time and refuses 200 after a while.
func overloadedStep(rate float64, n int64, refusal time.Duration) *drive.Step {
	s := step(rate, n)
	s.Refusal, s.Refused = drive.NewHistogram(), drive.NewHistogram()
	for range 200 {
		s.Refusal.Record(refusal)
		s.Refused.Record(refusal / 2)
	}
	return s
}

func TestOverloadIsJudgedByItsPromises(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		overloaded *drive.Step
		deadline   time.Duration
		broken     string
	}{
		"all kept":            {overloadedStep(400, 390, time.Millisecond), time.Second, ""},
		"goodput fell":        {overloadedStep(400, 300, time.Millisecond), time.Second, "goodput"},
		"answers came late":   {overloadedStep(400, 400, time.Millisecond), 100 * time.Millisecond, "answers"},
		"refusals took time":  {overloadedStep(400, 400, 50*time.Millisecond), time.Second, "refusals"},
		"nothing was offered": {overloadedStep(250, 400, time.Millisecond), time.Second, "a step offers"},
	} {
		l := NewLoad(header(), []*drive.Step{step(200, 400), test.overloaded})
		l.JudgeOverload(200, test.deadline)
		var broken []string
		for _, v := range l.Verdicts {
			if !v.Kept {
				broken = append(broken, v.Promise)
			}
		}
		if l.Kept() != (test.broken == "") || len(broken) > 1 || len(broken) == 1 && !strings.Contains(broken[0], test.broken) {
			t.Errorf("%s: broken promises %q", name, broken)
		}
	}
}

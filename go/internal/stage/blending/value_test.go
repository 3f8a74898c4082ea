package blending

import (
	"math"
	"strings"
	"testing"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
)

func TestValueFormula(t *testing.T) {
	t.Parallel()
	b := ranktest.Bundle(t, ranktest.Options{Edit: func(m *bundlev1.Manifest, _ map[string][]byte) {
		m.ValueFormula.Terms = []*bundlev1.ValueTerm{
			{Task: "click", Weight: 2, Exponent: 0.5}, {Task: "buy", Weight: 0.1, Exponent: 1, ItemColumn: "price"},
		}
	}})
	v, err := NewValue(b)
	if err != nil {
		t.Fatal(err)
	}
	// Item 3 costs 3.5; p(click) = 1/(1+e^-0.3), p(buy) = 1/(1+e^2).
	want := float32(2*math.Sqrt(1/(1+math.Exp(-float64(float32(0.3))))) + 0.1*1/(1+math.Exp(2))*3.5)
	if got := v.Score(3, []float32{0.3, -2}); got != want {
		t.Errorf("score %v, want %v", got, want)
	}
	if got := v.Score(3, []float32{-1000, 1000}); got != 0.35 {
		t.Errorf("extreme logits score %v, want 0.35", got)
	}
}

func TestValueFormulaNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for problem, terms := range map[string][]*bundlev1.ValueTerm{
		`no task "love"`: {{Task: "love"}}, `"category" is not an item column of numbers`: {{Task: "buy", ItemColumn: "category"}},
		`"cost" is not an item column`: {{Task: "buy", ItemColumn: "cost"}}, "no terms": nil,
	} {
		b := ranktest.Bundle(t, ranktest.Options{})
		b.Manifest.ValueFormula.Terms = terms
		if _, err := NewValue(b); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%v is not said: %v", problem, err)
		}
	}
}

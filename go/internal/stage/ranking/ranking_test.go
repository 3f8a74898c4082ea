package ranking

import (
	"errors"
	"slices"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// request holds seven candidates whose columns say which candidate they belong to; C = 2, T = 1.
func request() *stage.Request {
	r := &stage.Request{Scratch: &stage.Scratch{}, Plan: &stage.Plan{Snapshot: &repository.Snapshot{Dims: repository.Dims{C: 2, T: 1}}}}
	for i := range 7 {
		x := float32(i)
		r.Rows = append(r.Rows, int64(i))
		r.Retrieval, r.Prerank, r.Logits = append(r.Retrieval, x), append(r.Prerank, x), append(r.Logits, x)
		r.Cross = append(r.Cross, x, -x)
	}
	return r
}

func TestKeepRanked(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		faults []error // of the chunks 0-2, 3-5, 6
		wanted int
		rows   []int64
	}{
		"the first failed":   {[]error{broken, nil, nil}, 4, []int64{3, 4, 5, 6}},
		"the middle failed":  {[]error{nil, broken, nil}, 1, []int64{0, 1, 2, 6}},
		"the last failed":    {[]error{nil, nil, broken}, 6, []int64{0, 1, 2, 3, 4, 5}},
		"too few are left":   {[]error{nil, broken, broken}, 4, nil},
		"all failed":         {[]error{broken, broken, broken}, 0, nil},
		"the queue was full": {nil, 0, nil},
	} {
		r := request()
		kept := keepRanked(r, test.faults, 3, test.wanted)
		if kept != len(test.rows) {
			t.Errorf("%s: kept %d, want %d", name, kept, len(test.rows))
			continue
		}
		if kept == 0 {
			if len(r.Rows) != 7 || len(r.Logits) != 0 {
				t.Errorf("%s: %d candidates and %d logits are left", name, len(r.Rows), len(r.Logits))
			}
			continue
		}
		for i, row := range test.rows {
			x := float32(row)
			if r.Rows[i] != row || r.Retrieval[i] != x || r.Prerank[i] != x || r.Logits[i] != x || !slices.Equal(r.Cross[2*i:2*i+2], []float32{x, -x}) {
				t.Errorf("%s: candidate %d is mixed up: %d %v %v %v", name, i, r.Rows[i], r.Prerank[i], r.Logits[i], r.Cross[2*i:2*i+2])
			}
		}
		if len(r.Rows) != kept || len(r.Cross) != 2*kept || len(r.Logits) != kept {
			t.Errorf("%s: lengths %d %d %d", name, len(r.Rows), len(r.Cross), len(r.Logits))
		}
	}
}

package vector

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRescoringGivesWhatASearchWould(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(71, 72))
	const items, k = 300, 16
	vectors := normal(r, items*k, 1)
	for _, limit := range []int{0, 5, 1000} {
		q := Query{Vector: normal(r, k, 1), Allowed: allowed(r, items, 0.5), Limit: limit}
		rows := []int64{-1, items, math.MaxInt64} // that no catalog has
		for _, row := range r.Perm(items) {
			rows = append(rows, int64(row), int64(row))
		}
		want := brute(vectors, k, q)
		got, err := Rescore(vectors, k, q, rows)
		if err != nil || !slices.Equal(got.Rows, want.Rows) || !slices.Equal(got.Scores, want.Scores) {
			t.Errorf("limit %d: %v, %v; want %v", limit, got, err, want)
		}
	}
	huge := Query{Vector: make([]float32, k), Allowed: Bitmap{}.Fill(items), Limit: 1}
	huge.Vector[0] = float32(math.Inf(1))
	if _, err := Rescore(vectors, k, huge, nil); !errors.Is(err, ErrNonFinite) {
		t.Errorf("an infinite query: %v", err)
	}
}

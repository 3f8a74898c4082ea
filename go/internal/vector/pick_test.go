package vector

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestNthSplitsWhereSortingWould(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		s := make([]uint64, 1+r.IntN(60))
		for i := range s {
			s[i] = r.Uint64N(1 + r.Uint64N(50))
		}
		n := r.IntN(len(s))
		sorted := slices.Sorted(slices.Values(s))
		if got := nth(s, n); got != sorted[n] || slices.Max(s[:n+1]) != got || slices.Min(s[n:]) != got {
			t.Fatalf("nth %d is %d in %v", n, got, s)
		}
	}
}

func TestKeysAreTheTieRule(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	values := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 1e-45, -1e-45, math.MaxFloat32, -math.MaxFloat32, float32(math.Inf(1)), float32(math.Inf(-1))}
	for range 5000 {
		a, b := values[r.IntN(len(values))], values[r.IntN(len(values))]
		x, y := r.Int64N(1<<31), r.Int64N(1<<31)
		if got, want := cmp.Compare(keyOf(a, x), keyOf(b, y)), cmp.Or(cmp.Compare(b, a), cmp.Compare(x, y)); got != want {
			t.Fatalf("(%v, %d) against (%v, %d): %d, want %d", a, x, b, y, got, want)
		}
		if scoreOf(keyOf(a, x)) != a {
			t.Fatalf("%v became %v", a, scoreOf(keyOf(a, x)))
		}
	}
	nan := keyOf(float32(math.NaN()), 5)
	if nan >= keyOf(float32(math.Inf(1)), 0) || !math.IsNaN(float64(scoreOf(nan))) {
		t.Error("NaN is not first")
	}
}

func TestBitmap(t *testing.T) {
	t.Parallel()
	for _, items := range []int{0, 1, 63, 64, 65, 200} {
		b := Bitmap{1, 2, 3, 4, 5}.Fill(items)
		if b.Count() != items || len(b) != words(items) {
			t.Fatalf("%d items: %d set in %d words", items, b.Count(), len(b))
		}
		for row := range int64(items) {
			if !b.Has(row) || !b.Remove(row) || b.Has(row) || b.Remove(row) {
				t.Fatalf("row %d of %d", row, items)
			}
		}
	}
}

func TestBitmapKeepsWhatIsInBoth(t *testing.T) {
	t.Parallel()
	const items = 130
	a, b := Bitmap{}.Fill(items), Bitmap{}.Fill(items)
	for row := int64(0); row < items; row += 2 {
		a.Remove(row)
	}
	for row := int64(0); row < items; row += 3 {
		b.Remove(row)
	}
	if removed := a.Keep(b); removed != 22 { // 3, 9, ... 129
		t.Errorf("%d rows were removed", removed)
	}
	for row := range int64(items) {
		if a.Has(row) != (row%2 != 0 && row%3 != 0) || b.Has(row) != (row%3 != 0) {
			t.Errorf("row %d: %v", row, a.Has(row))
		}
	}
}

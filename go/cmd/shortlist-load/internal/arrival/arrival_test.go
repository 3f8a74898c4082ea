package arrival

import (
	"math"
	"slices"
	"testing"
	"time"
)

func times(s *Schedule) []time.Duration {
	var all []time.Duration
	for {
		at, ok := s.Next()
		if !ok {
			return all
		}
		all = append(all, at)
	}
}

func TestConstantArrivalsAreEvenlySpaced(t *testing.T) {
	all := times(New(Constant, 100, time.Second, 1))
	if len(all) != 99 { // the one due at 1 s belongs to the next second
		t.Fatalf("got %d arrivals in 1 s at 100/s, want 99", len(all))
	}
	for i, at := range all {
		if want := time.Duration(i+1) * 10 * time.Millisecond; (at - want).Abs() > time.Microsecond {
			t.Fatalf("arrival %d is due at %s, want %s", i, at, want)
		}
	}
}

// Counts of a Poisson process in windows of equal length have a variance equal to their mean, and gaps
// have a standard deviation equal to theirs. The bounds are five standard errors.
func TestPoissonArrivalsHaveTheMomentsOfAPoissonProcess(t *testing.T) {
	const rate, seconds = 500.0, 200
	all := times(New(Poisson, rate, seconds*time.Second, 42))
	if n, mean := float64(len(all)), rate*seconds; math.Abs(n-mean) > 5*math.Sqrt(mean) {
		t.Errorf("got %.0f arrivals, want %.0f within five standard errors", n, mean)
	}
	var sum, squares float64
	previous := time.Duration(0)
	for _, at := range all {
		gap := (at - previous).Seconds()
		previous = at
		sum += gap
		squares += gap * gap
	}
	n := float64(len(all))
	mean := sum / n
	if variation := math.Sqrt(squares/n-mean*mean) / mean; math.Abs(variation-1) > 0.03 {
		t.Errorf("gaps vary by %.3f of their mean, want 1", variation)
	}
	counts := make([]float64, seconds*10)
	for _, at := range all {
		counts[at/(100*time.Millisecond)]++
	}
	sum, squares = 0, 0
	for _, c := range counts {
		sum += c
		squares += c * c
	}
	n = float64(len(counts))
	mean = sum / n
	if dispersion := (squares/n - mean*mean) / mean; math.Abs(dispersion-1) > 5*math.Sqrt(2/n) {
		t.Errorf("variance of counts over their mean is %.3f, want 1", dispersion)
	}
}

func TestSeedsRepeatASchedule(t *testing.T) {
	a, b := times(New(Poisson, 50, 10*time.Second, 7)), times(New(Poisson, 50, 10*time.Second, 7))
	if !slices.Equal(a, b) {
		t.Error("the same seed gave two schedules")
	}
	if slices.Equal(a, times(New(Poisson, 50, 10*time.Second, 8))) {
		t.Error("two seeds gave one schedule")
	}
}

func TestParseNamesTheChoices(t *testing.T) {
	if _, err := Parse("burst"); err == nil || err.Error() != `"burst" is not an arrival process; use poisson or constant` {
		t.Errorf("got %v", err)
	}
}

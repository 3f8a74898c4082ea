package stage

import (
	"math"
	"sync"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
)

// The last item of the release is out from 4e9 on, the one before until 1e9.
func TestAvailabilityIsThatOfTheCatalog(t *testing.T) {
	t.Parallel()
	catalog := ranktest.Bundle(t, ranktest.Options{}).Catalog
	a := NewAvailability(catalog)
	times := []int64{-1, 0, 1, 999_999_999, 1e9, 1e9 + 1, 2e9, 4e9 - 1, 4e9, 4e9 + 1, math.MaxInt64}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for _, time := range append(times, times...) {
				set := a.At(time)
				for row := range int64(catalog.Len()) {
					if set.Has(row) != catalog.Available(row, time) {
						t.Errorf("at %d row %d: %v", time, row, set.Has(row))
					}
				}
			}
		})
	}
	group.Wait()
	if now, later := a.At(1e9), a.At(4e9-1); &now[0] != &later[0] {
		t.Error("nothing comes or goes between two times, and the set was worked out again")
	}
}

func BenchmarkAvailability(b *testing.B) {
	catalog := ranktest.Bundle(b, ranktest.Options{Items: 4096}).Catalog
	a, s := NewAvailability(catalog), &Scratch{}
	b.Run("kept", func(b *testing.B) {
		for b.Loop() {
			s.AllRows(catalog.Len()).Keep(a.At(2e9))
		}
	})
	b.Run("every row", func(b *testing.B) {
		for b.Loop() {
			rows := s.AllRows(catalog.Len())
			for row := range int64(catalog.Len()) {
				if !catalog.Available(row, 2e9) {
					rows.Remove(row)
				}
			}
		}
	})
}

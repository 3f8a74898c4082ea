package stage

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

func TestSortIsTheTieRule(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	s := &Scratch{}
	for range 200 {
		n := random.IntN(50)
		scores, rows := make([]float32, n), make([]int64, n)
		score := func() float32 { return float32(random.IntN(5) - 2) } // many ties
		if random.IntN(2) == 0 {
			score = func() float32 { return math.Float32frombits(random.Uint32() &^ (1 << 30)) } // any digits, but finite
		}
		for i, row := range random.Perm(n) {
			scores[i], rows[i] = score(), int64(row)
		}
		order := s.Sort(scores, rows)
		for i := range order {
			if order[i].score != scores[order[i].Was()] || order[i].Row() != rows[order[i].Was()] {
				t.Fatalf("place %d says %+v", i, order[i])
			}
			if i > 0 && (order[i].score > order[i-1].score || order[i].score == order[i-1].score && order[i].row < order[i-1].row) {
				t.Fatalf("%+v comes before %+v", order[i-1], order[i])
			}
		}
	}
}

func TestTakePermutesEveryColumn(t *testing.T) {
	t.Parallel()
	s := &Scratch{Rows: []int64{5, 6, 7}, Retrieval: []float32{50, 60, 70}, Prerank: []float32{1, 3, 2}, Cross: []float32{5, -5, 6, -6, 7, -7}}
	s.Take(s.Sort(s.Prerank, s.Rows)[:2])
	if !slices.Equal(s.Rows, []int64{6, 7}) || !slices.Equal(s.Retrieval, []float32{60, 70}) || !slices.Equal(s.Prerank, []float32{3, 2}) ||
		!slices.Equal(s.Cross, []float32{6, -6, 7, -7}) {
		t.Errorf("%v %v %v %v", s.Rows, s.Retrieval, s.Prerank, s.Cross)
	}
}

func TestMarksSurviveTheEndOfTheirCounter(t *testing.T) {
	t.Parallel()
	s := &Scratch{stamps: make([]uint32, 2), epoch: math.MaxUint32 - 1}
	for range 4 {
		s.NewMarks()
		if !s.Mark(1) || s.Mark(1) || !s.Mark(0) {
			t.Fatalf("marks of epoch %d", s.epoch)
		}
	}
}

func TestFinite(t *testing.T) {
	t.Parallel()
	inf := float32(math.Inf(1))
	for _, bad := range []float32{inf, -inf, float32(math.NaN())} {
		if Finite([]float32{1, bad}) {
			t.Errorf("%v is not finite", bad)
		}
	}
	if !Finite([]float32{0, math.MaxFloat32, -math.MaxFloat32}) || !Finite(nil) {
		t.Error("finite numbers are refused")
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	var p Pace
	if p.For(1000) != 0 || p.Fit(1000, 0, 2) != 1000 {
		t.Error("nothing is known, so nothing may be cut")
	}
	p.Seen(100, time.Millisecond) // 10 us each
	if p.For(100) != time.Millisecond || p.Fit(1000, time.Millisecond, 1) != 100 || p.Fit(1000, time.Millisecond, 2) != 200 {
		t.Errorf("for 100: %s; fit: %d, %d", p.For(100), p.Fit(1000, time.Millisecond, 1), p.Fit(1000, time.Millisecond, 2))
	}
	if got := p.Fit(1000, math.MaxInt64, 64); got != 1000 {
		t.Errorf("without a deadline %d fit", got)
	}
	for range 200 {
		p.Seen(100, 2*time.Millisecond)
	}
	if got := p.For(100); got < 1900*time.Microsecond || got > 2*time.Millisecond {
		t.Errorf("the pace stays at %s where 2ms is true", got)
	}
	p.Seen(0, time.Hour)
	if p.For(100) > 2*time.Millisecond {
		t.Error("a run of nothing teaches nothing")
	}
}

func TestPaceHasAFixedPart(t *testing.T) {
	t.Parallel()
	var p Pace
	if p.Cost(7) != 7 {
		t.Errorf("nothing is known, so the cost is the count, not %d", p.Cost(7))
	}
	p.Set(time.Millisecond, 10*time.Microsecond)
	if p.Cost(100) != 2000 || p.For(0) != time.Millisecond {
		t.Errorf("cost %d, for none %s", p.Cost(100), p.For(0))
	}
	if got := p.Fit(1000, 2*time.Millisecond, 2); got != 200 {
		t.Errorf("%d fit into what two workers have after the fixed part", got)
	}
	if got := p.Fit(1000, time.Microsecond, 2); got != 0 {
		t.Errorf("%d fit into less than the fixed part", got)
	}
	p.Seen(100, 2*time.Millisecond) // as expected
	if p.Cost(100) != 2000 {
		t.Errorf("a run at the known pace moved it to %d", p.Cost(100))
	}
}

// Workers end together, no chunk is much over the size, or twice the size with one idle worker, and none under half of it.
func TestChunksAreEven(t *testing.T) {
	t.Parallel()
	p := &Plan{}
	for _, test := range []struct{ chunk, m, workers, size, runs int }{
		{512, 3000, 0, 500, 6}, {512, 769, 0, 385, 2}, {512, 3000, 1, 1000, 3}, {512, 3000, 2, 500, 6}, {512, 1000, 2, 500, 2}, {512, 1600, 2, 400, 4}, {256, 3000, 2, 250, 12},
		{512, 513, 1, 513, 1}, {512, 1000, 1, 1000, 1}, {512, 1025, 1, 513, 2}, {768, 1000, 2, 500, 2}, {768, 3000, 1, 1500, 2}, {256, 3000, 8, 188, 16}, {512, 1000, 16, 334, 3}, {512, 512, 2, 512, 1}, {512, 40, 2, 40, 1}, {512, 0, 2, 1, 0}, {1, 3, 0, 1, 3},
	} {
		p.SetChunk(test.chunk)
		size := p.ChunkSize(test.m, test.workers)
		if runs := (test.m + size - 1) / size; size != test.size || runs != test.runs {
			t.Errorf("%d candidates in chunks of %d over %d workers: %d runs of %d, want %d of %d", test.m, test.chunk, test.workers, runs, size, test.runs, test.size)
		}
	}
}

func TestGraphsAreBoundByName(t *testing.T) {
	t.Parallel()
	spec := func(name string) runtime.TensorSpec {
		return runtime.TensorSpec{Name: name, DType: runtime.Float32, Shape: []int64{1}}
	}
	rt := fake.New(map[string]fake.Graph{"g": {
		Inputs: []runtime.TensorSpec{spec("b"), spec("a")}, Outputs: []runtime.TensorSpec{spec("y"), spec("x")},
		Compute: func(in []runtime.Tensor) ([]runtime.Tensor, error) { // y = b, x = a
			return []runtime.Tensor{runtime.Floats([]float32{in[0].F32[0]}, 1), runtime.Floats([]float32{in[1].F32[0]}, 1)}, nil
		},
	}})
	session, err := rt.Load("g", []byte("g"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	g, err := NewGraph("g", session, []string{"a", "b"}, []string{"x", "y"})
	if err != nil {
		t.Fatal(err)
	}
	call := g.Call()
	defer call.Free()
	call.Floats([]float32{1}, 1)
	call.Floats([]float32{2}, 1)
	call.out = []runtime.Tensor{{}, runtime.Floats(make([]float32, 1), 1)} // one allocated, one in place
	outputs := call.out
	if err := call.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if outputs[0].F32[0] != 1 || outputs[1].F32[0] != 2 {
		t.Errorf("x = %v, y = %v", outputs[0].F32, outputs[1].F32)
	}
	for _, names := range [][]string{{"a"}, {"a", "c"}, {"a", "b", "c"}} {
		if _, err := NewGraph("g", session, names, []string{"x", "y"}); err == nil || !strings.Contains(err.Error(), "graph g") {
			t.Errorf("inputs %v: %v", names, err)
		}
	}
	if _, err := NewGraph("g", nil, nil, nil); err == nil {
		t.Error("no session was taken for a graph")
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for reason, err := range map[string]error{
		ReasonDeadline: &rank.DeadlineError{}, ReasonOverload: &rank.OverloadedError{}, ReasonNonFinite: ErrNonFinite, ReasonStageFailed: context.Canceled,
	} {
		if got := ReasonOf(err); got != reason || !slices.Contains(Reasons, got) {
			t.Errorf("%v is %s, want %s", err, got, reason)
		}
	}
	if ReasonOf(context.DeadlineExceeded) != ReasonDeadline {
		t.Error("a context's deadline is a deadline")
	}
}

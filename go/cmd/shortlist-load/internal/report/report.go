// Package report writes what a run measured: a table, JSON and one self-contained page.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/drive"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/machine"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/trace"
)

// Format names the layout of the JSON; it changes when a field changes its meaning.
const Format = "shortlist-load/1"

// Header says what ran, where and how.
type Header struct {
	Title    string            `json:"title"`
	Started  time.Time         `json:"started"`
	Command  []string          `json:"command"`
	Commit   string            `json:"commit"`
	Seed     uint64            `json:"seed"`
	Settings map[string]string `json:"settings"`
	Machine  machine.Facts     `json:"machine"`
}

// Load is the report of an open-loop run.
type Load struct {
	Format string `json:"format"`
	Header
	Releases []string `json:"releases"`
	Void     bool     `json:"void"` // true: at least one step measured the generator
	Steps    []Step   `json:"steps"`

	Capacity float64   `json:"capacity_per_second,omitempty"` // of an overload run: what its rates are multiples of
	Verdicts []Verdict `json:"verdicts,omitempty"`
}

// Step is the report of one rate. Times are in microseconds.
type Step struct {
	Name      string                 `json:"name,omitempty"` // where a run has steps of several kinds
	Offered   float64                `json:"offered_per_second"`
	Seconds   float64                `json:"seconds"`
	Due       int64                  `json:"due"`
	Sent      int64                  `json:"sent"`
	Unsent    int64                  `json:"unsent"`
	Answered  int64                  `json:"answered"`
	Goodput   float64                `json:"goodput_per_second"`
	ByRung    map[string]float64     `json:"goodput_per_second_by_rung"`
	Full      float64                `json:"full_answers_per_second"`
	Shed      int64                  `json:"shed"`
	Codes     map[string]int64       `json:"codes"`
	Rungs     map[string]int64       `json:"rungs"`
	Items     int64                  `json:"items"`
	Latency   Percentiles            `json:"latency_us"`
	Failures  Percentiles            `json:"failure_us"`
	Refusals  Percentiles            `json:"refusal_us"`
	Refused   Percentiles            `json:"refusal_service_us"`
	Service   Percentiles            `json:"service_us"`
	Late      Percentiles            `json:"late_us"`
	ByKind    map[string]Percentiles `json:"by_kind_us"`
	Curve     []Point                `json:"latency_curve"`
	Timeline  []Second               `json:"timeline"`
	Generator float64                `json:"generator_cpu_share"`
	Void      []string               `json:"void_reasons"`
	Notes     []string               `json:"notes"`
}

// Percentiles of durations in microseconds. One that fewer durations than 1/(1-q) would support is absent.
type Percentiles struct {
	Count int64  `json:"count"`
	Mean  int64  `json:"mean"`
	P50   *int64 `json:"p50,omitempty"`
	P90   *int64 `json:"p90,omitempty"`
	P99   *int64 `json:"p99,omitempty"`
	P999  *int64 `json:"p99_9,omitempty"`
	Max   int64  `json:"max"`
}

// Point says that share Quantile of the answers took at most Micros.
type Point struct {
	Quantile float64 `json:"quantile"`
	Micros   int64   `json:"us"`
}

// Second is one second of a step, by due time.
type Second struct {
	Due      int   `json:"due"`
	Answered int   `json:"answered"`
	Failed   int   `json:"failed"`
	WorstUS  int64 `json:"worst_us"`
}

// NewLoad turns measured steps into a report.
func NewLoad(header Header, steps []*drive.Step) *Load {
	l := &Load{Format: Format, Header: header}
	releases := map[string]bool{}
	for _, s := range steps {
		step := newStep(s)
		l.Void = l.Void || len(step.Void) > 0
		l.Steps = append(l.Steps, step)
		for id := range s.Releases {
			releases[id] = true
		}
	}
	l.Releases = slices.Sorted(maps.Keys(releases))
	return l
}

func newStep(s *drive.Step) Step {
	step := Step{
		Name: s.Name, Offered: s.Rate, Seconds: s.Length.Seconds(), Due: s.Due, Sent: s.Sent, Unsent: s.Unsent, Answered: s.Answered,
		Goodput: s.Goodput(), Full: float64(s.Rungs[drive.Full]) / s.Length.Seconds(), Shed: s.Codes[drive.Shed],
		Codes: s.Codes, Rungs: s.Rungs, Items: s.Items,
		Latency: percentiles(s.Latency), Failures: percentiles(s.Failure), Refusals: percentiles(s.Refusal), Refused: percentiles(s.Refused),
		Service: percentiles(s.Service), Late: percentiles(s.Late),
		ByRung: map[string]float64{}, ByKind: map[string]Percentiles{}, Curve: curve(s.Latency), Generator: s.CPU, Void: s.Void(), Notes: s.Notes(),
	}
	for rung, count := range s.OnTimeRungs {
		step.ByRung[rung] = float64(count) / s.Length.Seconds()
	}
	for _, kind := range trace.Kinds {
		if h, ok := s.ByKind[kind]; ok {
			step.ByKind[string(kind)] = percentiles(h)
		}
	}
	for _, second := range s.Tally.Seconds {
		step.Timeline = append(step.Timeline, Second{Due: second.Due, Answered: second.Answered, Failed: second.Failed, WorstUS: second.Worst.Microseconds()})
	}
	return step
}

func percentiles(h drive.Histogram) Percentiles {
	at := func(q float64) *int64 {
		// The epsilon forgives 1/(1-0.99) = 99.99999999999991 and its like.
		if float64(h.Count())*(1-q) < 1-1e-9 {
			return nil
		}
		us := h.Quantile(q).Microseconds()
		return &us
	}
	return Percentiles{Count: h.Count(), Mean: h.Mean().Microseconds(), P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999), Max: h.Max().Microseconds()}
}

// curve samples quantiles evenly on the scale of nines (0.9, 0.99 ...), as far as the count supports.
func curve(h drive.Histogram) []Point {
	var points []Point
	const perNine = 16
	for i := 1; ; i++ {
		q := 1 - pow10(-float64(i)/perNine)
		if float64(h.Count())*(1-q) < 1 {
			return points
		}
		points = append(points, Point{Quantile: q, Micros: h.Quantile(q).Microseconds()})
	}
}

// WriteJSON writes the report for programs.
func WriteJSON(w io.Writer, r any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

package report

import (
	"fmt"
	"io"
	"slices"
)

// Soak is the report of a memory run.
type Soak struct {
	Format string `json:"format"`
	Header
	Releases []string         `json:"releases"`
	PID      int              `json:"pid"`
	Process  string           `json:"process"`
	Requests int64            `json:"requests"`
	Answered int64            `json:"answered"`
	Seconds  float64          `json:"seconds"`
	Codes    map[string]int64 `json:"codes"`
	Rungs    map[string]int64 `json:"rungs"`
	WarmUp   int64            `json:"warmup_requests"` // not counted in growth
	GrowthMB float64          `json:"growth_mb"`
	LimitMB  float64          `json:"limit_mb"`
	FirstMB  float64          `json:"first_mb"` // median of the first tenth of the samples after the warm-up
	LastMB   float64          `json:"last_mb"`  // median of the last tenth
	PeakMB   float64          `json:"peak_mb"`
	Passed   bool             `json:"passed"`
	Reasons  []string         `json:"void_reasons"` // why growth says nothing; empty when it does
	Samples  []Sample         `json:"samples"`
}

// Sample is the resident memory after so many requests.
type Sample struct {
	Requests int64   `json:"requests"`
	RSSMB    float64 `json:"rss_mb"`
}

// minSamples make a tenth of them more than one.
const minSamples = 20

// Judge computes growth from the samples and compares it with the limit.
func (s *Soak) Judge() {
	after := slices.DeleteFunc(slices.Clone(s.Samples), func(x Sample) bool { return x.Requests < s.WarmUp })
	for _, x := range s.Samples {
		s.PeakMB = max(s.PeakMB, x.RSSMB)
	}
	if len(after) < minSamples {
		s.Reasons = append(s.Reasons, fmt.Sprintf("only %d samples after the warm-up, want %d: send more requests", len(after), minSamples))
	} else {
		tenth := len(after) / 10
		s.FirstMB, s.LastMB = medianRSS(after[:tenth]), medianRSS(after[len(after)-tenth:])
		s.GrowthMB = s.LastMB - s.FirstMB
	}
	if s.Answered*10 < s.Requests*9 {
		s.Reasons = append(s.Reasons, fmt.Sprintf("only %d of %d calls were answered: flat memory of refused calls proves nothing", s.Answered, s.Requests))
	}
	s.Passed = len(s.Reasons) == 0 && s.GrowthMB <= s.LimitMB
}

func medianRSS(samples []Sample) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = s.RSSMB
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// WriteTable writes the report for people at a terminal.
func (s *Soak) WriteTable(w io.Writer) error {
	verdict := "ok"
	if !s.Passed {
		verdict = "TOO MUCH"
	}
	_, err := fmt.Fprintf(w, "%s   commit %s   seed %d\nprocess %d (%s): %.1f MB after the warm-up, %.1f MB at the end, peak %.1f MB\ngrowth %.1f MB, limit %.1f MB: %s\n%d of %d calls answered in %.1f s; codes %s; rungs %s\n",
		s.Title, s.Commit, s.Seed, s.PID, s.Process, s.FirstMB, s.LastMB, s.PeakMB, s.GrowthMB, s.LimitMB, verdict, s.Answered, s.Requests, s.Seconds, counts(s.Codes), counts(s.Rungs))
	for _, reason := range s.Reasons {
		if err == nil {
			_, err = fmt.Fprintf(w, "VOID: %s\n", reason)
		}
	}
	return err
}

// WriteHTML writes the report as one page that needs nothing else.
func (s *Soak) WriteHTML(w io.Writer) error {
	return render(w, struct {
		Header
		Releases []string
		Void     bool
		Charts   []Chart
		Soak     *Soak
	}{s.Header, s.Releases, len(s.Reasons) > 0, []Chart{s.memoryChart()}, s})
}

// PerSecond is the rate of answers.
func (s *Soak) PerSecond() float64 { return float64(s.Answered) / max(s.Seconds, 1e-9) }

func (s *Soak) memoryChart() Chart {
	line := Series{Name: "resident memory"}
	for _, x := range s.Samples {
		line.X, line.Y = append(line.X, float64(x.Requests)), append(line.Y, x.RSSMB)
	}
	warm := Series{Name: "end of the warm-up", Dashed: true, X: []float64{float64(s.WarmUp), float64(s.WarmUp)}, Y: []float64{0, s.PeakMB}}
	return newChart("Resident memory", "A leak is a slope; a cache or a pool is a step that ends.", "requests", "MB",
		linear(0, float64(s.Requests), number), linear(0, s.PeakMB, func(mb float64) string { return number(mb) + " MB" }), []Series{line, warm})
}

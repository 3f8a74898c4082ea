package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/drive"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"micros": micros, "microsOf": func(us int64) string { return micros(&us) }, "counts": counts,
	"percent": func(share float64) string { return fmt.Sprintf("%.0f%%", share*100) },
	"rate":    number,
	"fixed":   func(v float64) string { return fmt.Sprintf("%.1f", v) },
	"sub":     func(a, b int64) int64 { return a - b },
	"join":    strings.Join,
}).Parse(pageText))

// fullRung is the rung of answers that are not degraded.
var fullRung = drive.Full

// maxCurves is how many distributions one chart can show and stay legible.
const maxCurves = 6

// WriteHTML writes the report as one page that needs nothing else.
func (l *Load) WriteHTML(w io.Writer) error {
	return render(w, struct {
		*Load
		Charts []Chart
		Soak   *Soak
	}{Load: l, Charts: l.charts()})
}

func render(w io.Writer, data any) error {
	if err := page.Execute(w, data); err != nil {
		return fmt.Errorf("write HTML: %w", err)
	}
	return nil
}

// SettingNames lists the settings in a fixed order.
func (h Header) SettingNames() []string { return slices.Sorted(maps.Keys(h.Settings)) }

func (l *Load) charts() []Chart {
	var charts []Chart
	if len(l.Steps) > 1 {
		charts = append(charts, l.latencyChart(), l.goodputChart())
	}
	return append(charts, l.distributionChart(), l.timelineChart())
}

// latencyChart draws percentiles against the offered rate.
func (l *Load) latencyChart() Chart {
	quantiles := []struct {
		name string
		of   func(Percentiles) *int64
	}{
		{"p50", func(p Percentiles) *int64 { return p.P50 }}, {"p90", func(p Percentiles) *int64 { return p.P90 }},
		{"p99", func(p Percentiles) *int64 { return p.P99 }}, {"p99.9", func(p Percentiles) *int64 { return p.P999 }},
	}
	var series []Series
	var all []float64
	for _, q := range quantiles {
		s := Series{Name: q.name, Dots: true}
		for _, step := range l.Steps {
			if us := q.of(step.Latency); us != nil {
				s.X, s.Y = append(s.X, step.Offered), append(s.Y, float64(*us))
				s.Labels = append(s.Labels, fmt.Sprintf("%s/s: %s %s", number(step.Offered), q.name, micros(us)))
			}
		}
		all = append(all, s.Y...)
		series = append(series, s)
	}
	return newChart("Latency against offered rate", "Of answers, from the moment each call was due. Logarithmic.", "offered calls a second", "latency",
		linear(0, l.highestRate(), number), timeScale(all), series)
}

func (l *Load) goodputChart() Chart {
	offered, good := Series{Name: "offered", Dashed: true}, Series{Name: "answered in time", Dots: true}
	full, shed := Series{Name: "of those undegraded", Dots: true}, Series{Name: "shed", Dots: true}
	add := func(s *Series, step Step, y float64) {
		s.X, s.Y = append(s.X, step.Offered), append(s.Y, y)
		s.Labels = append(s.Labels, fmt.Sprintf("%s/s: %.1f/s %s", number(step.Offered), y, s.Name))
	}
	for _, step := range l.Steps {
		add(&offered, step, step.Offered)
		add(&good, step, step.Goodput)
		add(&full, step, min(step.Full, step.Goodput))
		add(&shed, step, float64(step.Shed)/step.Seconds)
	}
	return newChart("Goodput against offered rate", "Answers within the deadline. A sound server bends to a plateau and stays there.", "offered calls a second", "calls a second",
		linear(0, l.highestRate(), number), linear(0, l.highestRate(), number), []Series{offered, good, full, shed})
}

// distributionChart draws each step's latency over its percentiles; of many steps, evenly chosen ones.
func (l *Load) distributionChart() Chart {
	var series []Series
	var all []float64
	highest := 0.9
	shown := min(len(l.Steps), maxCurves)
	for i := range shown {
		at := 0
		if shown > 1 {
			at = i * (len(l.Steps) - 1) / (shown - 1)
		}
		step := l.Steps[at]
		s := Series{Name: number(step.Offered) + "/s"}
		for _, p := range step.Curve {
			s.X, s.Y = append(s.X, p.Quantile), append(s.Y, float64(p.Micros))
			highest = max(highest, p.Quantile)
		}
		all = append(all, s.Y...)
		series = append(series, s)
	}
	return newChart("Latency distribution", "Share of answers that took at most this long, as far as the number of answers supports it. Logarithmic.", "percentile", "latency",
		nines(highest), timeScale(all), series)
}

// timelineChart draws the worst latency of each second, so that a stall or a pause of the collector shows.
func (l *Load) timelineChart() Chart {
	worst, failed := Series{Name: "slowest call due in that second"}, Series{Name: "slowest, where some failed", Dots: true}
	var start float64
	for _, step := range l.Steps {
		for i, second := range step.Timeline {
			if second.Due == 0 {
				continue
			}
			x, y := start+float64(i), float64(max(second.WorstUS, 1))
			worst.X, worst.Y = append(worst.X, x), append(worst.Y, y)
			if second.Failed > 0 {
				failed.X, failed.Y = append(failed.X, x), append(failed.Y, y)
				failed.Labels = append(failed.Labels, fmt.Sprintf("second %d at %s/s: %d of %d failed", i, number(step.Offered), second.Failed, second.Due))
			}
		}
		start += step.Seconds
	}
	c := newChart("Slowest call of each second", "Steps one after the other. Logarithmic.", "seconds", "latency", linear(0, start, number), timeScale(worst.Y), []Series{worst, failed})
	c.Lines[1].Points = "" // dots only: seconds with failures are not neighbours
	if len(failed.X) == 0 {
		c.Lines = c.Lines[:1]
	}
	return c
}

func (l *Load) highestRate() float64 {
	highest := 0.0
	for _, step := range l.Steps {
		highest = max(highest, step.Offered)
	}
	return highest
}

// timeScale is a logarithmic axis of microseconds around the values.
func timeScale(values []float64) scale {
	low, high := 1000.0, 10000.0
	if len(values) > 0 {
		low, high = max(slices.Min(values), 1), max(slices.Max(values), 1)
	}
	return logarithmic(low, high, func(us float64) string { v := int64(us + 0.5); return micros(&v) })
}

func number(v float64) string { return fmt.Sprintf("%g", float64(int64(v*1000+0.5))/1000) }

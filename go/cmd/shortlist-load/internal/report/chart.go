package report

import (
	"fmt"
	"math"
	"strings"
)

// Size of a chart and its plot area, in SVG units.
const (
	chartW, chartH           = 640.0, 340.0
	left, right, top, bottom = 64.0, 16.0, 16.0, 48.0
	plotRight, plotBottom    = chartW - right, chartH - bottom
)

// palette is the number of colours of the page, s0 to s7.
const palette = 8

// YLabelX, XLabelY and TickEnd place labels outside the plot area.
func (c Chart) YLabelX() float64 { return c.Left - 8 }

// XLabelY is where labels of the x axis stand.
func (c Chart) XLabelY() float64 { return c.Bottom + 20 }

// TickEnd is where ticks of the x axis end.
func (c Chart) TickEnd() float64 { return c.Bottom + 5 }

// scale maps values to 0..1.
type scale struct {
	at    func(v float64) float64
	ticks []tick
}

type tick struct {
	value float64
	label string
}

// Series is one line of a chart.
type Series struct {
	Name   string
	X, Y   []float64
	Dashed bool
	Dots   bool
	Labels []string // tooltips of the dots
}

// Chart is ready to draw: everything in SVG units.
type Chart struct {
	Title, Caption, XLabel, YLabel string
	W, H, Left, Right, Top, Bottom float64
	XTicks, YTicks                 []Mark
	Lines                          []Line
}

// Mark is a tick: a position and its label.
type Mark struct {
	At    float64
	Label string
}

// Line is a drawn series. Class picks its colour.
type Line struct {
	Name, Class, Points string
	Dashed              bool
	Dots                []Dot
}

// Dot is one point with a tooltip.
type Dot struct {
	X, Y  float64
	Label string
}

func newChart(title, caption, xLabel, yLabel string, x, y scale, series []Series) Chart {
	px := func(v float64) float64 { return left + clamp(x.at(v))*(plotRight-left) }
	py := func(v float64) float64 { return plotBottom - clamp(y.at(v))*(plotBottom-top) }
	c := Chart{Title: title, Caption: caption, XLabel: xLabel, YLabel: yLabel, W: chartW, H: chartH, Left: left, Right: plotRight, Top: top, Bottom: plotBottom}
	for _, t := range x.ticks {
		c.XTicks = append(c.XTicks, Mark{At: px(t.value), Label: t.label})
	}
	for _, t := range y.ticks {
		c.YTicks = append(c.YTicks, Mark{At: py(t.value), Label: t.label})
	}
	for i, s := range series {
		line := Line{Name: s.Name, Class: fmt.Sprintf("s%d", i%palette), Dashed: s.Dashed}
		points := make([]string, len(s.X))
		for j := range s.X {
			points[j] = fmt.Sprintf("%.1f,%.1f", px(s.X[j]), py(s.Y[j]))
			if s.Dots {
				dot := Dot{X: px(s.X[j]), Y: py(s.Y[j])}
				if j < len(s.Labels) {
					dot.Label = s.Labels[j]
				}
				line.Dots = append(line.Dots, dot)
			}
		}
		line.Points = strings.Join(points, " ")
		c.Lines = append(c.Lines, line)
	}
	return c
}

// linear spans 0 (or low) to a round number above high, with about five ticks.
func linear(low, high float64, label func(float64) string) scale {
	if high <= low {
		high = low + 1
	}
	step := niceStep((high - low) / 5)
	low = math.Floor(low/step+1e-9) * step
	high = math.Ceil(high/step-1e-9) * step
	s := scale{at: func(v float64) float64 { return (v - low) / (high - low) }}
	for i := 0; low+float64(i)*step <= high+step/2; i++ {
		v := low + float64(i)*step
		s.ticks = append(s.ticks, tick{v, label(v)})
	}
	return s
}

// logarithmic spans 1-2-5 numbers around low..high. Both must be positive.
func logarithmic(low, high float64, label func(float64) string) scale {
	low, high = floor125(low), ceil125(max(high, low*1.01))
	a, b := math.Log10(low), math.Log10(high)
	s := scale{at: func(v float64) float64 { return (math.Log10(max(v, low)) - a) / (b - a) }}
	for v := low; v <= high*1.0001; v = ceil125(v * 1.0001) {
		if decades := b - a; decades > 2.5 && math.Abs(math.Log10(v)-math.Round(math.Log10(v))) > 1e-6 {
			continue // many decades: label only powers of ten
		}
		s.ticks = append(s.ticks, tick{v, label(v)})
	}
	return s
}

// nines spreads quantiles by -log10(1-q), so that the tail gets as much room as the body.
func nines(highest float64) scale {
	span := max(-math.Log10(1-highest), 1)
	s := scale{at: func(q float64) float64 { return -math.Log10(1-q) / span }}
	for _, t := range []tick{{0, "0"}, {0.5, "50%"}, {0.9, "90%"}, {0.99, "99%"}, {0.999, "99.9%"}, {0.9999, "99.99%"}, {0.99999, "99.999%"}} {
		if s.at(t.value) <= 1+1e-9 {
			s.ticks = append(s.ticks, t)
		}
	}
	return s
}

func niceStep(rough float64) float64 { return ceil125(rough) }

func ceil125(v float64) float64 {
	power := pow10(math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5, 10} {
		if v <= m*power*(1+1e-9) {
			return m * power
		}
	}
	return 10 * power
}

func floor125(v float64) float64 {
	power := pow10(math.Floor(math.Log10(v)))
	for _, m := range []float64{5, 2, 1} {
		if v >= m*power*(1-1e-9) {
			return m * power
		}
	}
	return power
}

func clamp(v float64) float64 { return min(max(v, 0), 1) }

func pow10(v float64) float64 { return math.Pow(10, v) }

package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the report for people at a terminal.
func (l *Load) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s   release %s   commit %s   seed %d\n", l.Title, orDash(strings.Join(l.Releases, ", ")), l.Commit, l.Seed)
	fmt.Fprintf(&b, "%s, %d cores (%d for the generator), %.1f GB, load before %s\n\n", l.Machine.CPU, l.Machine.Cores, l.Machine.UsedCores, l.Machine.MemoryGB, l.Machine.LoadBefore)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\toffered/s\tgoodput/s\tp50\tp90\tp99\tp99.9\tmax\tserver p50\tshed\tother errors\tdegraded\titems\tlate p99\tgenerator CPU\t")
	for _, s := range l.Steps {
		fmt.Fprintf(table, "%s\t%.4g\t%.1f\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%.0f%%\t\n", s.Name, s.Offered, s.Goodput,
			micros(s.Latency.P50), micros(s.Latency.P90), micros(s.Latency.P99), micros(s.Latency.P999), micros(&s.Latency.Max), micros(s.Service.P50),
			s.Shed, s.Sent-s.Answered-s.Shed, s.Degraded(), s.Items, micros(s.Late.P99), s.Generator*100)
	}
	_ = table.Flush() // a strings.Builder takes everything
	fmt.Fprintln(&b)
	for _, s := range l.Steps {
		if s.Sent > s.Answered || s.Degraded() > 0 {
			fmt.Fprintf(&b, "%s: codes %s; rungs %s; p99 of refusals %s, in the server %s\n", s.label(), counts(s.Codes), counts(s.Rungs), micros(s.Refusals.P99), micros(s.Refused.P99))
		}
		for _, note := range s.Notes {
			fmt.Fprintf(&b, "%s: note: %s\n", s.label(), note)
		}
		for _, reason := range s.Void {
			fmt.Fprintf(&b, "%s: VOID: %s\n", s.label(), reason)
		}
	}
	if l.Capacity > 0 {
		fmt.Fprintf(&b, "\ncapacity, by a closed loop: %.1f/s\n", l.Capacity)
	}
	promises := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, v := range l.Verdicts {
		word := "kept"
		if !v.Kept {
			word = "NOT KEPT"
		}
		fmt.Fprintf(promises, "%s\t%s\t%s\n", word, v.Promise, v.Found)
	}
	_ = promises.Flush()
	if l.Void {
		fmt.Fprintln(&b, "VOID: this run measured the generator, not the server. Do not quote its figures.")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// label names a step in lines of text.
func (s Step) label() string {
	if s.Name != "" {
		return s.Name
	}
	return fmt.Sprintf("%.4g/s", s.Offered)
}

// Degraded is the number of answers below the full rung.
func (s Step) Degraded() int64 {
	var n int64
	for rung, count := range s.Rungs {
		if rung != fullRung {
			n += count
		}
	}
	return n
}

// micros writes microseconds with three digits and the unit that fits.
func micros(us *int64) string {
	if us == nil {
		return "-"
	}
	switch v := float64(*us); {
	case v < 1000:
		return fmt.Sprintf("%d us", *us)
	case v < 1e6:
		return fmt.Sprintf("%.3g ms", v/1e3)
	default:
		return fmt.Sprintf("%.3g s", v/1e6)
	}
}

func counts(m map[string]int64) string {
	if len(m) == 0 {
		return "none"
	}
	parts := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", key, m[key]))
	}
	return strings.Join(parts, ", ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

package funnel

import (
	"fmt"
	"math"
	"slices"
)

// comparison judges one golden case. Floats agree when |difference| <= absolute + relative * |golden|,
// integers when they are equal, and orders under the tie rule: an inversion counts only where the golden
// scores differ by more than twice the tolerance, and an item may be missing only within that of a cut.
// A release of low precision has a wide tolerance; what no graph computes is held to that of fp32 all the same.
type comparison struct {
	report             *Report
	at                 string
	absolute, relative float64
}

// The tolerance of fp32 releases.
const (
	fp32Absolute = 1e-5
	fp32Relative = 1e-4
)

// strictly judges what no graph computes.
func (c *comparison) strictly(judge func()) {
	absolute, relative := c.absolute, c.relative
	c.absolute, c.relative = min(absolute, fp32Absolute), min(relative, fp32Relative)
	judge()
	c.absolute, c.relative = absolute, relative
}

func (c *comparison) violation(tensor, problem string) {
	c.report.Violations++
	if len(c.report.Messages) < maxMessages {
		c.report.Messages = append(c.report.Messages, c.at+" "+tensor+": "+problem)
	}
}

func (c *comparison) allowed(golden float32) float64 {
	return c.absolute + c.relative*math.Abs(float64(golden))
}

// float compares one number and keeps the worst ratio of the report.
func (c *comparison) float(tensor string, element int, golden, got float32) {
	ratio := math.Abs(float64(got)-float64(golden)) / c.allowed(golden)
	if golden == got {
		ratio = 0
	} else if ratio != ratio {
		ratio = math.Inf(1)
	}
	if ratio > c.report.WorstRatio {
		c.report.WorstRatio, c.report.WorstAt = ratio, fmt.Sprintf("%s %s[%d]", c.at, tensor, element)
	}
	if ratio > 1 {
		c.violation(tensor, fmt.Sprintf("element %d is %g where the golden one is %g", element, got, golden))
	}
}

// tensor compares a whole tensor, where the case has it.
func (c *comparison) tensor(name string, wanted, seen *recording) {
	if ints, ok := wanted.ints[name]; ok {
		got, ok := seen.ints[name]
		if !ok || len(got) != len(ints) {
			c.violation(name, fmt.Sprintf("has %d elements where the golden one has %d", len(got), len(ints)))
			return
		}
		for i := range ints {
			if got[i] != ints[i] {
				c.violation(name, fmt.Sprintf("element %d is %d where the golden one is %d", i, got[i], ints[i]))
				return
			}
		}
		return
	}
	floats, ok := wanted.floats[name]
	if !ok {
		return
	}
	got := seen.floats[name]
	if len(got) != len(floats) {
		c.violation(name, fmt.Sprintf("has %d elements where the golden one has %d", len(got), len(floats)))
		return
	}
	for i := range floats {
		c.float(name, i, floats[i], got[i])
	}
}

// ordered is a list of rows with the scores that ordered it.
type ordered struct {
	rows   []int64
	scores []float32
}

func listOf(r *recording, rows, scores string) ordered {
	return ordered{r.ints[rows], r.floats[scores]}
}

// keptList is kept_rows with its prerank scores, which are recorded parallel to merged_rows.
func keptList(r *recording) ordered {
	merged, kept := r.ints["merged_rows"], r.ints["kept_rows"]
	at := positions(merged)
	list := ordered{rows: kept, scores: make([]float32, len(kept))}
	for i, row := range kept {
		if j, ok := at[row]; ok && j < len(r.floats["prerank_score"]) {
			list.scores[i] = r.floats["prerank_score"][j]
		}
	}
	return list
}

// list compares two ordered lists under the tie rule.
func (c *comparison) list(name string, wanted, got ordered) {
	if len(wanted.rows) != len(got.rows) {
		c.violation(name, fmt.Sprintf("has %d items where the golden one has %d", len(got.rows), len(wanted.rows)))
		return
	}
	if len(wanted.rows) == 0 {
		return
	}
	if len(wanted.scores) != len(wanted.rows) || len(got.scores) != len(got.rows) {
		c.violation(name, "has rows without scores")
		return
	}
	at := positions(got.rows)
	cut := wanted.scores[len(wanted.scores)-1]
	golden := make([]float32, len(got.rows)) // golden scores in our order; of rows that only we have, our score
	copy(golden, got.scores)
	for i, row := range wanted.rows {
		score := wanted.scores[i]
		j, ok := at[row]
		if ok {
			c.float(name+" score", i, score, got.scores[j])
			golden[j] = score
		} else if math.Abs(float64(score)-float64(cut)) > 2*c.allowed(cut) {
			c.violation(name, fmt.Sprintf("row %d is missing, and its score %g is not at the cut %g", row, score, cut))
		}
	}
	behind := math.Inf(-1) // best golden score behind place j
	for j := len(golden) - 1; j >= 0; j-- {
		if score := float64(golden[j]); behind-score > 2*c.allowed(golden[j]) {
			c.violation(name, fmt.Sprintf("row %d is at place %d, before one that the golden order has %g above it", got.rows[j], j, behind-score))
		}
		behind = max(behind, float64(golden[j]))
	}
}

// merged compares merged_rows: exactly where the sources agree row by row. Where ties moved rows inside a
// source, which list has judged, the merged order follows the sources and only its length is compared: every
// row that a source exchanged at its cut may be, or may have been, another source's too.
func (c *comparison) merged(sources []string, wanted, seen *recording) {
	equal, exchanged := true, 0
	for _, rows := range sources {
		equal = equal && slices.Equal(wanted.ints[rows], seen.ints[rows])
		at := positions(seen.ints[rows])
		for _, row := range wanted.ints[rows] {
			if _, ok := at[row]; !ok {
				exchanged++
			}
		}
	}
	if equal {
		c.tensor("merged_rows", wanted, seen)
		return
	}
	golden, got := len(wanted.ints["merged_rows"]), len(seen.ints["merged_rows"])
	if got < golden-exchanged || got > golden+exchanged {
		c.violation("merged_rows", fmt.Sprintf("has %d items where the golden one has %d", got, golden))
	}
}

// pair lists the positions [golden, own] of the rows that both have.
func (c *comparison) pair(name string, wanted, seen *recording) [][2]int {
	at := positions(seen.ints[name])
	var pairs [][2]int
	for i, row := range wanted.ints[name] {
		if j, ok := at[row]; ok {
			pairs = append(pairs, [2]int{i, j})
		}
	}
	return pairs
}

// byRow compares the rows of two tensors [M,...] pairwise.
func (c *comparison) byRow(name string, pairs [][2]int, wanted, seen *recording) {
	golden, got := wanted.floats[name], seen.floats[name]
	if len(golden) == 0 || len(pairs) == 0 {
		return
	}
	rowsOf := "merged_rows"
	if name == "logits" || name == "score" {
		rowsOf = "kept_rows"
	}
	width := len(golden) / len(wanted.ints[rowsOf])
	if n := len(seen.ints[rowsOf]); n*width != len(got) {
		c.violation(name, fmt.Sprintf("has %d elements for %d items where the golden one has %d an item", len(got), n, width))
		return
	}
	for _, p := range pairs {
		for e := range width {
			c.float(name, p[0]*width+e, golden[p[0]*width+e], got[p[1]*width+e])
		}
	}
}

func positions(rows []int64) map[int64]int {
	at := make(map[int64]int, len(rows))
	for i, row := range rows {
		at[row] = i
	}
	return at
}

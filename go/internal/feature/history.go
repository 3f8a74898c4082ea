package feature

import (
	"fmt"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// History is an encoded history of one request (B = 1).
type History struct {
	// Rows of all events, oldest first, before truncation; -1 for unknown items.
	Rows []int64
	// Start is the first kept event, counted over all events the user ever had.
	Start int64
	// Length is the number of kept events: history_length.
	Length int
	// Tensors are parallel to HistoryNames, [1,N] or [1,N,W] with N = max(Length, 1).
	Tensors []runtime.Tensor
	// LastItem is the row of the newest event; -1 when it is unknown or there is none.
	LastItem int64

	length []int64 // Length as a tensor: memory without pointers, because C sees it
}

var one = []int64{1} // a shape; never written

// LengthTensor is the graph input history_length, [1].
func (h *History) LengthTensor() runtime.Tensor { return runtime.Ints(h.length, one...) }

// WindowStart is the first event that a model sees of n: the smallest multiple s of the step with
// n - s <= max_events.
func WindowStart(n int64, w *bundlev1.HistoryWindow) int64 {
	over := n - int64(w.GetMaxEvents())
	if over <= 0 {
		return 0
	}
	step := int64(w.GetStep())
	return (over + step - 1) / step * step
}

// History encodes a history, truncated to the schema's window. dropped counts older events that the
// caller's store no longer holds, so that the window stays where it was. Fields of faults are under
// "user.history".
func (e *Encoder) History(h rank.History, dropped int64) (*History, error) {
	var faults rank.Faults
	rows, err := e.catalog.Rows(nil, h.Items, "user.history.items")
	if err := faults.Merge(err); err != nil {
		return nil, err
	}
	actions := e.encodeActions(&faults, h)
	checkTimes(&faults, h)
	start := max(WindowStart(dropped+int64(len(rows)), e.window), dropped)
	if e.times {
		requireTimes(&faults, h, int(start-dropped))
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	kept := rows[start-dropped:]
	out := &History{Rows: rows, Start: start, Length: len(kept), LastItem: -1}
	if len(rows) > 0 {
		out.LastItem = rows[len(rows)-1]
	}
	ofEvents := [][]int64{actions[start-dropped:]}
	if e.times {
		ofEvents = append(ofEvents, h.Times[start-dropped:])
	}
	out.Tensors, out.length = e.gatherHistory(kept, ofEvents)
	return out, nil
}

// gatherHistory makes the history_* columns of the kept events, of their items and then of the events
// themselves, and their number; with none the columns are one padding event.
func (e *Encoder) gatherHistory(rows []int64, ofEvents [][]int64) (tensors []runtime.Tensor, length []int64) {
	n := max(len(rows), 1)
	tensors = make([]runtime.Tensor, 0, len(e.historyNames))
	// Everything is cut from three pieces of memory: shapes (the first for every column without a width), integers and floats.
	shapes := append(make([]int64, 0, 2+3*len(e.gather)), 1, int64(n))
	flat := shapes[:2:2]
	ints, floats := make([]int64, n*(e.historyInts+len(ofEvents))+1), make([]float32, n*e.historyFloats)
	for _, column := range e.gather {
		shape, size := flat, n*column.Width
		if column.Column.GetWidth() > 0 {
			shapes = append(shapes, 1, int64(n), int64(column.Width))
			shape = shapes[len(shapes)-3 : len(shapes) : len(shapes)]
		}
		if column.F32 != nil {
			gather(floats[:size:size], column.F32, rows, column.Width)
			tensors = append(tensors, runtime.Floats(floats[:size:size], shape...))
			floats = floats[size:]
		} else {
			gather(ints[:size:size], column.I64, rows, column.Width)
			tensors = append(tensors, runtime.Ints(ints[:size:size], shape...))
			ints = ints[size:]
		}
	}
	for _, values := range ofEvents {
		copy(ints[:n], values)
		tensors = append(tensors, runtime.Ints(ints[:n:n], flat...))
		ints = ints[n:]
	}
	ints[0] = int64(len(rows))
	return tensors, ints
}

// gather copies the values of rows to out, which is 0; unknown items (-1) and padding stay 0.
func gather[T int64 | float32](out, values []T, rows []int64, width int) {
	for i, row := range rows {
		if row >= 0 {
			copy(out[i*width:(i+1)*width], values[int(row)*width:])
		}
	}
}

// encodeActions is 1 + the position of each event's action; the first action where none is given.
func (e *Encoder) encodeActions(faults *rank.Faults, h rank.History) []int64 {
	n := h.Items.Len()
	actions := make([]int64, n)
	if len(h.Actions) == 0 {
		for i := range actions {
			actions[i] = 1
		}
		return actions
	}
	if len(h.Actions) != n {
		faults.Add("user.history.actions", rank.ReasonInvalidField, fmt.Sprintf("there are %d actions for %d items", len(h.Actions), n),
			"send one action per item, or none")
		return actions
	}
	for i, action := range h.Actions {
		if action == "" { // appended without actions to a history that has some
			actions[i] = 1
			continue
		}
		if actions[i] = e.actions[action]; actions[i] == 0 {
			faults.Add(fmt.Sprintf("user.history.actions[%d]", i), rank.ReasonInvalidField, "the release's schema has no such action",
				"use one of the schema's actions")
		}
	}
	return actions
}

func checkTimes(faults *rank.Faults, h rank.History) {
	if len(h.Times) == 0 {
		return
	}
	if len(h.Times) != h.Items.Len() {
		faults.Add("user.history.times", rank.ReasonInvalidField, fmt.Sprintf("there are %d times for %d items", len(h.Times), h.Items.Len()),
			"send one time per item, or none")
		return
	}
	for i := 1; i < len(h.Times); i++ {
		if h.Times[i] < h.Times[i-1] {
			faults.Add(fmt.Sprintf("user.history.times[%d]", i), rank.ReasonInvalidField, "it is earlier than the event before",
				"send events oldest first")
			return
		}
	}
}

// requireTimes refuses kept events, those from start on, whose time is unknown: none was sent, or they were
// stored before the first one that has a time, which leaves 0. A made-up time would tell the model when
// the user was here last.
func requireTimes(faults *rank.Faults, h rank.History, start int) {
	const problem, fix = "the release's models read the times of events", "send the unix seconds of every event, here or when it is appended"
	n := h.Items.Len()
	if len(h.Times) == 0 && n > 0 {
		faults.Add("user.history.times", rank.ReasonMissingField, problem+", and there are none", fix)
	}
	if len(h.Times) == n && start < n && h.Times[start] <= 0 { // times ascend, so the first is the least
		faults.Add(fmt.Sprintf("user.history.times[%d]", start), rank.ReasonMissingField, fmt.Sprintf("%s, and this is %d", problem, h.Times[start]), fix)
	}
}

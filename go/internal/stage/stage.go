// Package stage holds what the stages of the funnel share: the plan of a release, made once, and the
// request that travels from stage to stage. Its subpackages are the stages.
//
// Shapes: M candidates, N history events, P of them encoded before, L layers, H heads and X head width of an
// encoder of histories, W width of the retriever's and R event vectors that it keeps, D ranker width, K retrieval
// width, Q query heads, C cross features, T tasks, I catalog items.
package stage

import (
	"context"
	"errors"
	"slices"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/vector"
	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
	"github.com/shortlist-serving/shortlist/go/internal/vectordb"
)

// Reasons of degradations: the closed set of Degradation.reason.
const (
	ReasonDeadline      = "deadline"
	ReasonSourceFailed  = "source_failed"
	ReasonSourceShort   = "source_short"
	ReasonEngine        = "engine_failed"
	ReasonStageFailed   = "stage_failed"
	ReasonOverload      = "overload"
	ReasonNonFinite     = "non_finite_score"
	ReasonDevice        = "device_failed"
	ReasonUnknownUser   = "unknown_user"
	ReasonStoreFailed   = "store_failed"
	ReasonStoredInvalid = "stored_user_invalid"
	ReasonEmpty         = "nothing_retrieved"
	ReasonForced        = "forced"
	ReasonSampled       = "sampled"
)

// Reasons lists the closed set.
var Reasons = []string{
	ReasonDeadline, ReasonSourceFailed, ReasonSourceShort, ReasonEngine, ReasonStageFailed, ReasonOverload, ReasonNonFinite, ReasonDevice, ReasonUnknownUser, ReasonStoreFailed,
	ReasonStoredInvalid, ReasonEmpty, ReasonForced, ReasonSampled,
}

// ErrNonFinite says that a graph gave NaN or infinity. Such scores never reach an answer.
var ErrNonFinite = errors.New("the graph gave a score that is NaN or infinite")

// ReasonOf is the reason that a stage's error stands for.
func ReasonOf(err error) string {
	var late *rank.DeadlineError
	var full *rank.OverloadedError
	var device *runtime.DeviceError
	var engine *vectordb.Error
	switch {
	case errors.As(err, &late), errors.Is(err, context.DeadlineExceeded):
		return ReasonDeadline
	case errors.As(err, &full):
		return ReasonOverload
	case errors.Is(err, ErrNonFinite):
		return ReasonNonFinite
	case errors.As(err, &device):
		return ReasonDevice
	case errors.As(err, &engine):
		return ReasonEngine
	}
	return ReasonStageFailed
}

// RegionGather is the trace region of looking up rows of items; the runs of a graph have its name.
const RegionGather = "gather"

// Source proposes candidates for a request, best first: at most its limit of allowed rows.
type Source interface {
	Name() string
	Retrieve(ctx context.Context, r *Request) (List, error)
}

// List is what a source proposed; Rows and Scores are parallel.
type List struct {
	Source string
	Rows   []int64
	Scores []float32
}

// Tap sees the tensors of a request as the stages make them; the self-test compares them with the golden
// ones. A tap copies what it keeps.
type Tap func(name string, t runtime.Tensor)

// Request is one query on its way through the funnel. Its slices live in Scratch and end with the request.
type Request struct {
	*Scratch
	Query   *rank.Query // as used: stored history and features are merged in, overrides applied
	Plan    *Plan
	Pool    *batching.Pool
	History *feature.History
	// Histories keeps encodings of histories across requests; Sequence and Encoding are this request's, of
	// retrieval and of the ranker, once they are there.
	Histories *kvcache.Cache
	Sequence  *kvcache.Encoding
	Encoding  *kvcache.Encoding
	Columns   []runtime.Tensor // parallel to Plan.Encoder.ColumnNames
	Allowed   vector.Bitmap    // [I]; nil when candidates were given
	Forced    []int64          // rows that pass every cut
	Lists     []List           // what each source proposed, in the manifest's order
	Faults    []error          // why sources did not answer
	Dropped   map[string]int
	Exact     bool // retrieve without approximation, as golden tensors were made
	Tap       Tap

	kept kvcache.History // see keptHistory
}

// Note passes a tensor to the tap, if there is one.
func (r *Request) Note(name string, t runtime.Tensor) {
	if r.Tap != nil {
		r.Tap(name, t)
	}
}

// NoteFloats passes a tensor to the tap, if there is one; without one it costs nothing.
func (r *Request) NoteFloats(name string, data []float32, shape ...int64) {
	if r.Tap != nil {
		r.Tap(name, runtime.Floats(data, slices.Clone(shape)...))
	}
}

// NoteInts is NoteFloats for a list of integers.
func (r *Request) NoteInts(name string, data []int64) {
	if r.Tap != nil {
		r.Tap(name, runtime.Ints(data, int64(len(data))))
	}
}

// HistoryLength is the graphs' input of that name, [1].
func (r *Request) HistoryLength() runtime.Tensor { return r.History.LengthTensor() }

// IsForced says whether a row passes every cut.
func (r *Request) IsForced(row int64) bool {
	return slices.Contains(r.Forced, row)
}

// Finite says whether no value is NaN or infinite.
func Finite(values []float32) bool { return kernel.Finite(values) }

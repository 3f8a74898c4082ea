package drive

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc/codes"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/trace"
)

// slowest is the longest time that a histogram tells apart; no deadline is longer.
const slowest = 10 * time.Minute

// Histogram holds durations from 1 us to 10 min with three significant digits.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram is empty.
func NewHistogram() Histogram {
	return Histogram{hdrhistogram.New(1, slowest.Microseconds(), 3)}
}

// Record adds a duration; those outside the range count at its ends.
func (h Histogram) Record(d time.Duration) {
	// RecordValue fails only outside the range, which the clamp rules out.
	_ = h.h.RecordValue(min(max(d.Microseconds(), 1), slowest.Microseconds()))
}

// Count is the number of recorded durations.
func (h Histogram) Count() int64 { return h.h.TotalCount() }

// Quantile is the duration that share q (0..1) of the recorded ones do not exceed; 0 when empty.
func (h Histogram) Quantile(q float64) time.Duration {
	return time.Duration(h.h.ValueAtQuantile(q*100)) * time.Microsecond
}

// Max is the longest recorded duration.
func (h Histogram) Max() time.Duration { return time.Duration(h.h.Max()) * time.Microsecond }

// Mean is the average.
func (h Histogram) Mean() time.Duration { return time.Duration(h.h.Mean() * float64(time.Microsecond)) }

// Second is what became of the calls that were due in one second of a step.
type Second struct {
	Due, Answered, Failed int
	Worst                 time.Duration // latency of the slowest call, answered or not
}

// Counts is what became of calls, whenever they were due. Not safe for concurrent use.
type Counts struct {
	Answered int64
	Codes    map[string]int64 // by gRPC code, OK included
	Rungs    map[string]int64 // of answers
	Releases map[string]int64 // of answers
	Items    int64            // of answers
}

// NewCounts is empty.
func NewCounts() Counts {
	return Counts{Codes: map[string]int64{}, Rungs: map[string]int64{}, Releases: map[string]int64{}}
}

// Add counts a call that ended; answer is read only when code is OK.
func (c *Counts) Add(code codes.Code, answer *pb.RecommendResponse) {
	c.Codes[codeName(code)]++
	if code != codes.OK {
		return
	}
	c.Answered++
	c.Rungs[rungName(answer.GetCoverage().GetRung())]++
	c.Releases[answer.GetReleaseId()]++
	c.Items += int64(max(len(answer.GetItems().GetInts()), len(answer.GetItems().GetStrings())))
}

// Tally is what a step counted.
type Tally struct {
	Counts
	Due         int64 // calls whose time came
	Sent        int64
	Unsent      int64            // due, but the cap on calls in flight was reached: the generator's failure, not the server's
	OnTime      int64            // answered within the deadline, counted from the due time
	OnTimeRungs map[string]int64 // of those

	Latency Histogram // due time to answer, of answers
	Failure Histogram // due time to status, of calls that failed
	Refusal Histogram // of those, the ones that were shed
	Refused Histogram // what shed calls say that the server spent
	Service Histogram // what answers say that the server spent
	Late    Histogram // due time to the moment of sending
	ByKind  map[trace.Kind]Histogram
	Seconds []Second
}

func newTally() *Tally {
	return &Tally{
		Counts: NewCounts(), Latency: NewHistogram(), Failure: NewHistogram(), Refusal: NewHistogram(), Refused: NewHistogram(),
		Service: NewHistogram(), Late: NewHistogram(),
		ByKind: map[trace.Kind]Histogram{}, OnTimeRungs: map[string]int64{},
	}
}

// recorder fills a tally from many goroutines.
type recorder struct {
	mu       sync.Mutex
	tally    *Tally
	deadline time.Duration
}

// outcome is one call that ended. due, sent and ended are offsets from the step's start.
type outcome struct {
	kind             trace.Kind
	due, sent, ended time.Duration
	code             codes.Code
	answer           *pb.RecommendResponse // nil unless code is OK
	server           time.Duration         // what the server says that it spent
}

func (r *recorder) unsent(due time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.Due++
	r.tally.Unsent++
	second := r.second(due)
	second.Due++
	second.Failed++
}

func (r *recorder) record(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, latency := r.tally, o.ended-o.due
	second := r.second(o.due)
	second.Due++
	second.Worst = max(second.Worst, latency)
	t.Due++
	t.Sent++
	t.Add(o.code, o.answer)
	t.Late.Record(o.sent - o.due)
	if o.code != codes.OK {
		second.Failed++
		t.Failure.Record(latency)
		if o.code == codes.ResourceExhausted {
			t.Refusal.Record(latency)
			t.Refused.Record(o.server)
		}
		return
	}
	second.Answered++
	if latency <= r.deadline {
		t.OnTime++
		t.OnTimeRungs[rungName(o.answer.GetCoverage().GetRung())]++
	}
	t.Latency.Record(latency)
	byKind, ok := t.ByKind[o.kind]
	if !ok {
		byKind = NewHistogram()
		t.ByKind[o.kind] = byKind
	}
	byKind.Record(latency)
	t.Service.Record(o.server)
}

func (r *recorder) second(due time.Duration) *Second {
	at := int(due / time.Second)
	for len(r.tally.Seconds) <= at {
		r.tally.Seconds = append(r.tally.Seconds, Second{})
	}
	return &r.tally.Seconds[at]
}

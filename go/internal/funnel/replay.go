package funnel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
)

// maxMessages bounds the differences that a report spells out; all are counted.
const maxMessages = 20

// Report is the verdict of a replay.
type Report struct {
	Cases      int
	Violations int
	WorstRatio float64 // largest |difference| / tolerance; 1 is the limit
	WorstAt    string  // case, stage and tensor of WorstRatio
	Recall     float64 // share of the items of an exact search that the index found: the least of the sources, 1 where all are exact
	Messages   []string
}

// Err is nil when everything agreed; else it names the first difference and the worst.
func (r *Report) Err() error {
	if r.Violations == 0 {
		return nil
	}
	return fmt.Errorf("%d differences from the golden tensors in %d cases; first: %s; worst: %.3g times the tolerance at %s; "+
		"this binary, runtime or device does not compute what was trained: compare the runtime versions of the manifest",
		r.Violations, r.Cases, r.Messages[0], r.WorstRatio, r.WorstAt)
}

// Replayer proves a release: it runs the golden requests through the same code as live ones, and compares
// the tensors of every stage with those that the factory computed.
type Replayer struct {
	funnel *Funnel
	parse  func(request []byte) (*rank.Query, error)
}

// NewReplayer makes a replayer; parse reads the JSON of a RecommendRequest. Golden requests are answered
// without the user store, because a release is proved by what it carries alone, and without kept histories,
// because a graph is proved by running it.
func NewReplayer(f *Funnel, parse func([]byte) (*rank.Query, error)) *Replayer {
	bare := &Funnel{opts: f.opts, pool: f.pool, histories: kvcache.New(kvcache.Options{}), failures: failures{logger: f.failures.logger}, exact: true}
	return &Replayer{funnel: bare, parse: parse}
}

// SelfTest is repository.Options.SelfTest.
func (p *Replayer) SelfTest(ctx context.Context, s *repository.Snapshot) error {
	report, err := p.Replay(ctx, s)
	if err != nil {
		return err
	}
	return report.Err()
}

// Replay compares all golden cases. The error is for a release that cannot be replayed at all.
func (p *Replayer) Replay(ctx context.Context, s *repository.Snapshot) (*Report, error) {
	golden := s.Bundle.Golden
	if golden == nil || len(golden.Requests) == 0 {
		return nil, errors.New("self-test: the release has no golden requests, so nothing proves it; export the release again")
	}
	tolerance := s.Bundle.Manifest.GetTolerance()
	report := &Report{Cases: len(golden.Requests), Recall: 1}
	recalls := make(map[string][]float32)
	for i, request := range golden.Requests {
		q, err := p.parse(request)
		if err != nil {
			return nil, fmt.Errorf("self-test: golden request %d: %w", i, err)
		}
		seen := &recording{ints: make(map[string][]int64), floats: make(map[string][]float32)}
		_, result, err := p.funnel.run(unhurried(ctx), s.Prepared.(*Release), q, seen.note)
		if err != nil {
			return nil, fmt.Errorf("self-test: golden request %d: %w", i, err)
		}
		for _, source := range s.Bundle.Manifest.GetFunnel().GetSources() {
			recalls[source.GetName()] = append(recalls[source.GetName()], seen.floats[retrieval.RecallOf(source.GetName())]...)
		}
		c := &comparison{report: report, at: fmt.Sprintf("case %d", i), absolute: tolerance.GetAbsolute(), relative: tolerance.GetRelative()}
		if result.Coverage.Rung > rank.RungFull {
			c.violation("coverage", fmt.Sprintf("the answer was degraded: %+v", result.Coverage.Degradations))
			continue
		}
		if err := c.compare(fmt.Sprintf("%d/", i), golden.Tensors, seen, s); err != nil {
			return nil, fmt.Errorf("self-test: golden case %d: %w", i, err)
		}
	}
	judgeRecall(report, s.Bundle.Manifest.GetFunnel().GetSources(), recalls)
	return report, nil
}

// Warm runs the warm-up requests, so that the first callers do not pay for first runs. Failures do not
// matter here: the golden requests have judged the release.
func (p *Replayer) Warm(ctx context.Context, s *repository.Snapshot) {
	if s.Bundle.Golden == nil {
		return
	}
	for _, request := range s.Bundle.Golden.Warmup {
		if q, err := p.parse(request); err == nil && ctx.Err() == nil {
			_, _, _ = p.funnel.run(unhurried(ctx), s.Prepared.(*Release), q, nil)
		}
	}
}

// unhurried gives a replayed query a budget without a deadline, behind all live traffic.
func unhurried(ctx context.Context) context.Context {
	return rank.WithBudget(ctx, rank.NewBudget(time.Time{}, 1, rank.Batch))
}

// recording is a tap that keeps copies.
type recording struct {
	ints   map[string][]int64
	floats map[string][]float32
}

func (r *recording) note(name string, t runtime.Tensor) {
	if t.DType == runtime.Int64 {
		r.ints[name] = slices.Clone(t.I64)
	} else {
		r.floats[name] = slices.Clone(t.F32)
	}
}

// compare goes through the stages in the order of the funnel, so that the first message is the first difference.
func (c *comparison) compare(prefix string, golden *bundle.Tensors, seen *recording, s *repository.Snapshot) error {
	wanted, err := load(prefix, golden)
	if err != nil {
		return err
	}
	plan := s.Prepared.(*Release).plan
	for _, name := range slices.Concat(plan.Encoder.HistoryNames(), []string{"history_length"}, plan.Encoder.ColumnNames()) {
		c.strictly(func() { c.tensor("in."+name, wanted, seen) })
	}
	for _, name := range []string{"state", "recent", "sequence_keys", "sequence_values", "query_vectors"} {
		c.tensor(name, wanted, seen)
	}
	var sources []string
	for _, source := range plan.Funnel.GetSources() {
		rows, scores := "source."+source.GetName()+".rows", "source."+source.GetName()+".scores"
		if _, ok := wanted.ints[rows]; ok {
			sources = append(sources, rows)
			judge := func() { c.list(rows, listOf(wanted, rows, scores), listOf(seen, rows, scores)) }
			if source.GetKind() == bundlev1.SourceKind_TWO_TOWER {
				judge()
			} else {
				c.strictly(judge)
			}
		}
	}
	c.merged(sources, wanted, seen)
	merged := c.pair("merged_rows", wanted, seen)
	c.strictly(func() { c.byRow("cross", merged, wanted, seen) })
	c.byRow("prerank_score", merged, wanted, seen)
	if _, ok := wanted.ints["kept_rows"]; ok {
		c.list("kept_rows", keptList(wanted), keptList(seen))
	}
	kept := c.pair("kept_rows", wanted, seen)
	c.tensor("keys", wanted, seen)
	c.tensor("values", wanted, seen)
	c.byRow("logits", kept, wanted, seen)
	c.byRow("score", kept, wanted, seen)
	c.list("final_rows", listOf(wanted, "final_rows", "final_scores"), listOf(seen, "final_rows", "final_scores"))
	return nil
}

// load reads the golden tensors of one case.
func load(prefix string, golden *bundle.Tensors) (*recording, error) {
	wanted := &recording{ints: make(map[string][]int64), floats: make(map[string][]float32)}
	for _, name := range golden.Names() {
		if len(name) <= len(prefix) || name[:len(prefix)] != prefix {
			continue
		}
		short := name[len(prefix):]
		if floats, _, err := golden.Floats(name); err == nil {
			wanted.floats[short] = floats
		} else if ints, _, err := golden.Ints(name); err == nil {
			wanted.ints[short] = ints
		} else {
			return nil, fmt.Errorf("golden tensor %s is neither float32 nor int64; export the release again", name)
		}
	}
	if len(wanted.ints["final_rows"]) == 0 && wanted.ints["merged_rows"] == nil {
		return nil, errors.New("it has no tensors; export the release again")
	}
	return wanted, nil
}

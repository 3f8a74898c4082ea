package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/drive"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/machine"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/trace"
)

// Rewriting accepts whatever the code does now: read the difference before committing it.
var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); go test -rewrite accepts it:\n%s", path, diff)
	}
}

func header() Header {
	return Header{
		Title: "Test <run>", Started: time.Unix(1_760_000_000, 0).UTC(), Command: []string{"shortlist-load", "-rate", "10,20"}, Commit: "abc123", Seed: 7,
		Settings: map[string]string{"rate": "10,20", "deadline": "1s"},
		Machine:  machine.Facts{CPU: "A CPU", Cores: 2, UsedCores: 1, MemoryGB: 8, Kernel: "6", LoadBefore: "0 0 0", Go: "go1", Platform: "linux/amd64"},
	}
}

// step has n answers of 1..n ms, one of them degraded, and one shed call.
func step(rate float64, n int64) *drive.Step {
	h := func() drive.Histogram {
		h := drive.NewHistogram()
		for i := int64(1); i <= n; i++ {
			h.Record(time.Duration(i) * time.Millisecond)
		}
		return h
	}
	shed, late := drive.NewHistogram(), drive.NewHistogram()
	shed.Record(2 * time.Millisecond)
	for range n {
		late.Record(50 * time.Microsecond)
	}
	return &drive.Step{Rate: rate, Length: 2 * time.Second, Took: 2 * time.Second, CPU: 0.25, Tally: &drive.Tally{
		Counts: drive.Counts{
			Answered: n, Codes: map[string]int64{"OK": n, drive.Shed: 1}, Rungs: map[string]int64{"full": n - 1, "popular": 1},
			Releases: map[string]int64{"r1": n}, Items: 5 * n,
		},
		Due: n + 1, Sent: n + 1, OnTime: n, Latency: h(), Failure: shed, Refusal: shed, Refused: drive.NewHistogram(), Service: h(), Late: late, OnTimeRungs: map[string]int64{"full": n - 1, "popular": 1},
		ByKind:  map[trace.Kind]drive.Histogram{trace.Rank: h()},
		Seconds: []drive.Second{{Due: int(n), Answered: int(n), Worst: time.Duration(n) * time.Millisecond}, {Due: 1, Failed: 1, Worst: 2 * time.Millisecond}},
	}}
}

func TestReportsAreWhatTheGoldenFilesHold(t *testing.T) {
	r := NewLoad(header(), []*drive.Step{step(10, 20), step(20, 1000)})
	var table, text bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", table.String())
	if err := WriteJSON(&text, r); err != nil {
		t.Fatal(err)
	}
	golden(t, "load.json", text.String())
}

func TestPercentilesThatTheCountDoesNotSupportAreAbsent(t *testing.T) {
	for _, c := range []struct {
		n               int64
		p90, p99, p99_9 bool
	}{{1, false, false, false}, {10, true, false, false}, {99, true, false, false}, {100, true, true, false}, {1000, true, true, true}} {
		p := percentiles(step(1, c.n).Latency)
		if (p.P90 != nil) != c.p90 || (p.P99 != nil) != c.p99 || (p.P999 != nil) != c.p99_9 {
			t.Errorf("%d answers: p90 %v, p99 %v, p99.9 %v", c.n, p.P90, p.P99, p.P999)
		}
	}
	p := percentiles(step(1, 1000).Latency)
	if *p.P99 < 989_000 || *p.P99 > 991_000 {
		t.Errorf("p99 of 1..1000 ms is %d us", *p.P99)
	}
}

// elements counts the tags of a page and fails when they do not nest.
func elements(t *testing.T, text string) map[string]int {
	t.Helper()
	found := map[string]int{}
	// Void elements of HTML, closed for the XML parser.
	text = regexp.MustCompile(`<(meta[^>]*|br)>`).ReplaceAllString(text, "<$1/>")
	decoder := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(text, "<!doctype html>")))
	decoder.Entity = xml.HTMLEntity
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatalf("the page is not well formed: %v", err)
		}
		if start, ok := token.(xml.StartElement); ok {
			found[start.Name.Local]++
			for _, attribute := range start.Attr {
				if (attribute.Name.Local == "src" || attribute.Name.Local == "href") || strings.Contains(attribute.Value, "NaN") {
					t.Errorf("<%s %s=%q>: the page must be self-contained and finite", start.Name.Local, attribute.Name.Local, attribute.Value)
				}
			}
		}
	}
}

func pageOf(t *testing.T, r interface{ WriteHTML(io.Writer) error }) string {
	t.Helper()
	var text bytes.Buffer
	if err := r.WriteHTML(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestPagesHoldEveryStepAndChart(t *testing.T) {
	text := pageOf(t, NewLoad(header(), []*drive.Step{step(10, 20), step(20, 1000)}))
	found := elements(t, text)
	if found["svg"] != 4 || found["polyline"] < 8 || found["script"] != 0 {
		t.Errorf("elements %v", found)
	}
	for _, want := range []string{"Test &lt;run&gt;", "abc123", "A CPU", "p99.9", "prefers-color-scheme: dark", "RESOURCE_EXHAUSTED 1", "shortlist-load -rate 10,20"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "Void:") || strings.Contains(text, "ZgotmplZ") {
		t.Error("a sound run is called void, or the template refused a value")
	}
	if one := elements(t, pageOf(t, NewLoad(header(), []*drive.Step{step(10, 20)}))); one["svg"] != 2 {
		t.Errorf("one step draws %d charts, want 2: a curve needs two points", one["svg"])
	}
}

func TestVoidRunsSayItFirst(t *testing.T) {
	busy := step(10, 1000)
	busy.CPU = 0.95
	r := NewLoad(header(), []*drive.Step{busy})
	text := pageOf(t, r)
	if !r.Void || !strings.Contains(text, "Void: do not quote these figures") || !strings.Contains(text, "95% of its cores") {
		t.Error("a void run does not say so on its page")
	}
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "VOID") {
		t.Error("a void run does not say so in its table")
	}
}

func TestStepsWithoutAnswersStillDraw(t *testing.T) {
	empty := step(10, 0)
	empty.Rungs = map[string]int64{}
	elements(t, pageOf(t, NewLoad(header(), []*drive.Step{empty, empty})))
}

func soak(samples []Sample) *Soak {
	return &Soak{Format: Format, Header: header(), PID: 1, Process: "shortlistd", Requests: 1000, Answered: 1000, WarmUp: 200, LimitMB: 50, Samples: samples}
}

func TestGrowthIsJudgedAfterTheWarmUp(t *testing.T) {
	series := func(rss func(i int64) float64) []Sample {
		var all []Sample
		for i := int64(0); i <= 1000; i += 5 {
			all = append(all, Sample{Requests: i, RSSMB: rss(i)})
		}
		return all
	}
	flat := soak(series(func(i int64) float64 { return min(100+float64(i), 300) })) // all growth is warm-up
	flat.Judge()
	if !flat.Passed || flat.GrowthMB != 0 || flat.PeakMB != 300 {
		t.Errorf("flat: %+v", flat.GrowthMB)
	}
	leak := soak(series(func(i int64) float64 { return 100 + 0.1*float64(i) }))
	leak.Judge()
	if leak.Passed || leak.GrowthMB < 65 || leak.GrowthMB > 80 {
		t.Errorf("a leak of 0.1 MB a request grew %.1f MB, want about 72 and a failure", leak.GrowthMB)
	}
	refused := soak(series(func(int64) float64 { return 100 }))
	refused.Answered = 500
	refused.Judge()
	few := soak([]Sample{{0, 1}, {500, 1}, {1000, 1}})
	few.Judge()
	for _, s := range []*Soak{refused, few} {
		if s.Passed || len(s.Reasons) != 1 {
			t.Errorf("a run that proves nothing passed: %v", s.Reasons)
		}
	}
	text := pageOf(t, leak)
	if found := elements(t, text); found["svg"] != 1 {
		t.Errorf("elements %v", found)
	}
	var back Soak
	var written bytes.Buffer
	if err := WriteJSON(&written, leak); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(written.Bytes(), &back); err != nil || back.GrowthMB != leak.GrowthMB {
		t.Errorf("JSON does not read back: %v", err)
	}
}

func TestScalesLabelRoundNumbers(t *testing.T) {
	s := linear(0, 87, number)
	if last := s.ticks[len(s.ticks)-1]; last.value < 87 || s.at(last.value) != 1 {
		t.Errorf("the axis ends at %v", last)
	}
	for _, v := range []float64{1, 4.9, 5, 5.1, 99, 100} {
		if low, high := floor125(v), ceil125(v); low > v || high < v {
			t.Errorf("%g lies outside %g..%g", v, low, high)
		}
	}
	for us, want := range map[int64]string{1: "1 us", 999: "999 us", 1500: "1.5 ms", 500_000: "500 ms", 2_000_000: "2 s"} {
		if got := micros(&us); got != want {
			t.Errorf("%d us is written %q, want %q", us, got, want)
		}
	}
}

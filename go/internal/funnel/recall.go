package funnel

import (
	"fmt"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
)

// recallSlack is how far the recall over the golden requests may lie below what export asked for: they are few, and others.
const recallSlack = 0.05

// judgeRecall refuses a graph of neighbours that finds less on this server than it was released for. recalls are the shares
// that each source found, by case; sources that search exactly have none.
func judgeRecall(report *Report, sources []*bundlev1.Source, recalls map[string][]float32) {
	for _, source := range sources {
		shares := recalls[source.GetName()]
		if len(shares) == 0 {
			continue
		}
		sum := 0.0
		for _, share := range shares {
			sum += float64(share)
		}
		mean := sum / float64(len(shares))
		report.Recall = min(report.Recall, mean)
		if asked := source.GetHnsw().GetMinRecall(); mean < asked-recallSlack {
			c := &comparison{report: report, at: "source " + source.GetName()}
			c.violation("recall", fmt.Sprintf("the index finds %.4f of what an exact search does, and the release was asked for %.4f", mean, asked))
		}
	}
}

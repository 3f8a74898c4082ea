// Package ranking is the third stage: the amortized ranker. The history is encoded once; the candidates
// pass through the ranker in chunks and never see each other.
package ranking

import (
	"context"

	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Encode starts the encoding of the request's history for Rank: Keys and Values [L,H,N,X]. It depends on no
// candidate, so it runs beside retrieval and preranking.
func Encode(ctx context.Context, r *stage.Request) kvcache.Call {
	return r.Plan.HistoryEncoder.Start(ctx, r)
}

package rpc

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// ServedLine is a line of the served log: the request with history and features as they were used, so that
// it can be sent again, and the answer without its explanations.
func ServedLine(at time.Time, q *rank.Query, result *rank.Result) []byte {
	bare := *result
	bare.Explanations = nil
	sent, err := MarshalRequest(q)
	if err != nil {
		return []byte(`{"error":"the request could not be written"}`)
	}
	answer, err := protojson.Marshal(response(q.RequestID, &bare))
	if err != nil {
		return []byte(`{"error":"the answer could not be written"}`)
	}
	line, err := json.Marshal(struct {
		Time     string          `json:"time"`
		Mode     string          `json:"mode"`
		Request  json.RawMessage `json:"request"`
		Response json.RawMessage `json:"response"`
	}{at.UTC().Format(time.RFC3339Nano), [...]string{"Recommend", "Retrieve", "Rank"}[q.Mode], sent, answer})
	if err != nil {
		return []byte(`{"error":"the line could not be written"}`)
	}
	return line
}

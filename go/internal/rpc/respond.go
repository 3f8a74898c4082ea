package rpc

import (
	"google.golang.org/protobuf/proto"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// response converts a result. It shares the result's lists: nothing writes to them any more.
func response(requestID string, result *rank.Result) *shortlistv1.RecommendResponse {
	out := &shortlistv1.RecommendResponse{
		RequestId: requestID, ReleaseId: result.ReleaseID, Items: itemIDs(result.Items), Scores: result.Scores,
		Coverage: coverage(result.Coverage), Micros: uint64(result.Micros),
	}
	for t, task := range result.Tasks {
		out.Tasks = append(out.Tasks, &shortlistv1.TaskPredictions{Task: task, Predictions: result.Predictions[t]})
	}
	for _, s := range result.Stages {
		out.Stages = append(out.Stages, &shortlistv1.StageReport{
			Stage: s.Stage, ItemsIn: uint32(s.In), ItemsOut: uint32(s.Out), Micros: uint64(s.Micros)})
	}
	for _, reason := range []string{rank.DropUnknownItem, rank.DropDuplicate, rank.DropSeen, rank.DropUnavailable, rank.DropFilter} {
		if count := result.Dropped[reason]; count > 0 {
			out.Dropped = append(out.Dropped, &shortlistv1.Dropped{Reason: reason, Count: uint32(count)})
		}
	}
	for _, e := range result.Explanations {
		out.Explanations = append(out.Explanations, explanation(e))
	}
	return out
}

func coverage(c rank.Coverage) *shortlistv1.Coverage {
	out := &shortlistv1.Coverage{StagesRun: c.StagesRun, Degraded: c.Rung > rank.RungFull, Rung: shortlistv1.Rung(c.Rung)}
	for _, d := range c.Degradations {
		out.Degradations = append(out.Degradations, &shortlistv1.Degradation{Stage: d.Stage, Reason: d.Reason, Detail: d.Detail})
	}
	return out
}

func explanation(e rank.Explanation) *shortlistv1.Explanation {
	out := &shortlistv1.Explanation{
		Item: itemIDs(e.ID), Known: e.Row >= 0, PrerankScore: e.Prerank, Logits: e.Logits, Score: e.Score,
		DropReason: e.DropReason, Cross: e.Cross,
	}
	for _, s := range e.Sources {
		out.Sources = append(out.Sources, &shortlistv1.SourceScore{Source: s.Source, Rank: uint32(s.Rank), Score: s.Score})
	}
	if e.PrerankRank != nil {
		out.PrerankRank = proto.Uint32(uint32(*e.PrerankRank))
	}
	if e.Rank != nil {
		out.Rank = proto.Uint32(uint32(*e.Rank))
	}
	return out
}

func itemIDs(ids rank.ItemIDs) *shortlistv1.ItemIds {
	return &shortlistv1.ItemIds{Ints: ids.Ints, Strings: ids.Strings}
}

// request is the inverse of converter.query: the message that would give this query. The served log
// writes it, so that any line can be sent again.
func request(q *rank.Query) *shortlistv1.RecommendRequest {
	out := &shortlistv1.RecommendRequest{
		RequestId: q.RequestID, Context: values(q.Context), Limit: int32(q.Limit), Time: q.Time,
		User: &shortlistv1.User{Id: q.UserID, Features: values(q.User)},
	}
	switch q.Priority {
	case rank.Critical:
		out.Priority = shortlistv1.Priority_PRIORITY_CRITICAL
	case rank.Batch:
		out.Priority = shortlistv1.Priority_PRIORITY_BATCH
	default:
		out.Priority = shortlistv1.Priority_PRIORITY_NORMAL
	}
	if q.History != nil {
		out.User.History = history(*q.History)
	}
	if q.Candidates != nil {
		out.Candidates = itemIDs(*q.Candidates)
	}
	out.Filters = &shortlistv1.Filters{KeepSeen: q.Filters.KeepSeen, KeepUnavailable: q.Filters.KeepUnavailable}
	for _, f := range q.Filters.Columns {
		out.Filters.Columns = append(out.Filters.Columns, &shortlistv1.ColumnFilter{
			Column: f.Column, AnyOf: valueList(f.AnyOf), NoneOf: valueList(f.NoneOf), Min: f.Min, Max: f.Max})
	}
	if d := q.Debug; d != nil {
		out.Debug = &shortlistv1.Debug{
			Explain: itemIDs(d.Explain), Force: itemIDs(d.Force), OverrideFeatures: values(d.Override), ReleaseId: d.ReleaseID,
			Seed: d.Seed, DoNotLog: d.DoNotLog, ExplainResults: d.ExplainResults,
			ForceRung: shortlistv1.Rung(d.ForceRung),
		}
	}
	return out
}

func history(h rank.History) *shortlistv1.History {
	return &shortlistv1.History{Items: itemIDs(h.Items), Actions: h.Actions, Times: h.Times}
}

func values(features rank.Features) map[string]*shortlistv1.Value {
	if len(features) == 0 {
		return nil
	}
	out := make(map[string]*shortlistv1.Value, len(features))
	for name, v := range features {
		out[name] = value(v)
	}
	return out
}

func valueList(values []rank.Value) []*shortlistv1.Value {
	var out []*shortlistv1.Value
	for _, v := range values {
		out = append(out, value(v))
	}
	return out
}

func value(v rank.Value) *shortlistv1.Value {
	switch v.Kind {
	case rank.KindInteger:
		return &shortlistv1.Value{Kind: &shortlistv1.Value_Integer{Integer: v.Integer}}
	case rank.KindNumber:
		return &shortlistv1.Value{Kind: &shortlistv1.Value_Number{Number: v.Number}}
	case rank.KindText:
		return &shortlistv1.Value{Kind: &shortlistv1.Value_Text{Text: v.Text}}
	case rank.KindTexts:
		return &shortlistv1.Value{Kind: &shortlistv1.Value_Texts{Texts: &shortlistv1.TextList{Values: v.Texts}}}
	}
	return &shortlistv1.Value{}
}

package feature

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protojson"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// importBatch is how many lines share a transaction, and so an fsync.
const importBatch = 1000

// Import appends JSON lines of shortlist.v1.AppendRequest in batched transactions, and returns the number
// of lines stored. A faulty line stops it with its number in the error; what was counted before is stored.
// Blank lines are skipped.
func (s *BoltStore) Import(ctx context.Context, r io.Reader) (stored int64, err error) {
	lines := bufio.NewReaderSize(r, 1<<16)
	number := 0
	for {
		var batch []*shortlistv1.AppendRequest
		first := number + 1
		for len(batch) < importBatch {
			line, readErr := lines.ReadBytes('\n')
			if readErr != nil && readErr != io.EOF {
				return stored, fmt.Errorf("import users: line %d: %w", number+1, readErr)
			}
			if len(line) > 0 {
				number++
			}
			if len(bytes.TrimSpace(line)) > 0 {
				request := &shortlistv1.AppendRequest{}
				if err := protojson.Unmarshal(line, request); err != nil {
					return stored, fmt.Errorf("import users: line %d is not an AppendRequest: %w", number, err)
				}
				batch = append(batch, request)
			}
			if readErr == io.EOF {
				break
			}
		}
		if len(batch) == 0 {
			return stored, nil
		}
		if err := ctx.Err(); err != nil {
			return stored, err
		}
		if err := s.importBatch(batch); err != nil {
			return stored, fmt.Errorf("import users: lines %d to %d: %w", first, number, err)
		}
		stored += int64(len(batch))
	}
}

func (s *BoltStore) importBatch(batch []*shortlistv1.AppendRequest) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for i, request := range batch {
			events, features := historyOf(request.GetEvents()), featuresOf(request.GetFeatures())
			err := checkAppend(request.GetUserId(), events, features)
			if err == nil {
				_, err = s.appendIn(tx, request.GetUserId(), events, features)
			}
			if err != nil {
				return errors.Join(fmt.Errorf("record %d of them", i+1), err)
			}
		}
		return nil
	})
}

func historyOf(h *shortlistv1.History) rank.History {
	return rank.History{
		Items:   rank.ItemIDs{Ints: h.GetItems().GetInts(), Strings: h.GetItems().GetStrings()},
		Actions: h.GetActions(),
		Times:   h.GetTimes(),
	}
}

func featuresOf(values map[string]*shortlistv1.Value) rank.Features {
	features := make(rank.Features, len(values))
	for name, value := range values {
		switch kind := value.GetKind().(type) {
		case *shortlistv1.Value_Integer:
			features[name] = rank.Value{Kind: rank.KindInteger, Integer: kind.Integer}
		case *shortlistv1.Value_Number:
			features[name] = rank.Value{Kind: rank.KindNumber, Number: kind.Number}
		case *shortlistv1.Value_Text:
			features[name] = rank.Value{Kind: rank.KindText, Text: kind.Text}
		case *shortlistv1.Value_Texts:
			features[name] = rank.Value{Kind: rank.KindTexts, Texts: kind.Texts.GetValues()}
		default:
			features[name] = rank.Value{}
		}
	}
	return features
}

package feature

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// User is what a Store holds of a user.
type User struct {
	History rank.History // the newest events, oldest first
	// Dropped counts older events that the store let go; Dropped + len(History) is how many there ever were.
	Dropped  int64
	Features rank.Features
}

// Store keeps histories and features of users.
type Store interface {
	// Append adds events and replaces the given features; durable when it returns. stored is the number of
	// events now held. Faults of the call are in an *rank.InvalidError.
	Append(ctx context.Context, userID string, events rank.History, features rank.Features) (stored int64, err error)
	// Get is what is held of a user: rank.ErrUserNotFound when nothing is.
	Get(ctx context.Context, userID string) (*User, error)
	Close() error
}

// StoreOptions of a bbolt store; zero fields take the defaults.
type StoreOptions struct {
	// MaxEvents kept per user; default 2048. At least max_events + step of the releases' history window, or
	// windows become shorter than the model's.
	MaxEvents int
}

// BoltStore is a Store in one file: one record per user.
type BoltStore struct {
	db        *bbolt.DB
	maxEvents int
}

var usersBucket = []byte("users")

// maxUserID bounds the keys of the store.
const maxUserID = 1024

// OpenStore opens or makes the store at path. Only one process may have it open.
func OpenStore(path string, opts StoreOptions) (*BoltStore, error) {
	if opts.MaxEvents <= 0 {
		opts.MaxEvents = 2048
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open user store %q: another process has it open: stop it, or use another file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open user store %q: %w: restore it from a backup, or remove it to begin empty", path, err)
	}
	db.MaxBatchDelay = time.Millisecond // concurrent appends share one fsync; a lone one waits this long
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(usersBucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open user store %q: %w", path, err), db.Close())
	}
	return &BoltStore{db: db, maxEvents: opts.MaxEvents}, nil
}

// Append implements Store.
func (s *BoltStore) Append(ctx context.Context, userID string, events rank.History, features rank.Features) (stored int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := checkAppend(userID, events, features); err != nil {
		return 0, err
	}
	err = s.db.Batch(func(tx *bbolt.Tx) error { // may run more than once: it sets everything anew
		stored, err = s.appendIn(tx, userID, events, features)
		return err
	})
	return stored, err
}

// appendIn is Append inside a transaction, without the checks of the call itself.
func (s *BoltStore) appendIn(tx *bbolt.Tx, userID string, events rank.History, features rank.Features) (int64, error) {
	bucket := tx.Bucket(usersBucket)
	user, err := decodeUser(bucket.Get([]byte(userID)))
	if err != nil {
		return 0, err
	}
	if user.History, err = joinHistories(user.History, events); err != nil {
		return 0, err
	}
	if over := user.History.Items.Len() - s.maxEvents; over > 0 {
		user.History = dropOldest(user.History, over)
		user.Dropped += int64(over)
	}
	if user.Features == nil {
		user.Features = rank.Features{}
	}
	maps.Copy(user.Features, features)
	return int64(user.History.Items.Len()), bucket.Put([]byte(userID), encodeUser(user))
}

// Get implements Store.
func (s *BoltStore) Get(ctx context.Context, userID string) (*User, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var user *User
	err := s.db.View(func(tx *bbolt.Tx) error {
		record := tx.Bucket(usersBucket).Get([]byte(userID))
		if record == nil {
			return rank.ErrUserNotFound
		}
		var err error
		user, err = decodeUser(record) // copies: the record is valid in the transaction only
		return err
	})
	return user, err
}

// Close implements Store.
func (s *BoltStore) Close() error { return s.db.Close() }

func checkAppend(userID string, events rank.History, features rank.Features) error {
	var faults rank.Faults
	switch {
	case userID == "":
		faults.Add("user_id", rank.ReasonMissingField, "it is empty", "send the user's id")
	case len(userID) > maxUserID || !utf8.ValidString(userID):
		faults.Add("user_id", rank.ReasonTooLarge, "it is too long or not UTF-8", fmt.Sprintf("send at most %d bytes of UTF-8", maxUserID))
	}
	n := events.Items.Len()
	if len(events.Items.Ints) > 0 && len(events.Items.Strings) > 0 {
		faults.Add("events.items", rank.ReasonWrongType, "integer and string ids are mixed", "send ids of one kind")
	}
	if len(events.Actions) > 0 && len(events.Actions) != n {
		faults.Add("events.actions", rank.ReasonInvalidField, fmt.Sprintf("there are %d actions for %d items", len(events.Actions), n), "send one action per item, or none")
	}
	if len(events.Times) > 0 && len(events.Times) != n {
		faults.Add("events.times", rank.ReasonInvalidField, fmt.Sprintf("there are %d times for %d items", len(events.Times), n), "send one time per item, or none")
	}
	for i := 1; i < len(events.Times); i++ {
		if events.Times[i] < events.Times[i-1] {
			faults.Add(fmt.Sprintf("events.times[%d]", i), rank.ReasonInvalidField, "it is earlier than the event before", "send events oldest first")
			break
		}
	}
	for _, name := range slices.Sorted(maps.Keys(features)) {
		if x := features[name].Number; math.IsNaN(x) || math.IsInf(x, 0) {
			faults.Add("features["+name+"]", rank.ReasonNotFinite, "the number is not finite", "leave it out")
		}
	}
	return faults.Err()
}

// joinHistories puts events after old. Where only one of the two has actions, the others are "", which
// means the schema's first; where only one has times, the others take the time of the event before.
func joinHistories(old, events rank.History) (rank.History, error) {
	var faults rank.Faults
	n, added := old.Items.Len(), events.Items.Len()
	if (len(old.Items.Ints) > 0 && len(events.Items.Strings) > 0) || (len(old.Items.Strings) > 0 && len(events.Items.Ints) > 0) {
		faults.Add("events.items", rank.ReasonWrongType, "the ids are of another kind than the stored ones", "send the kind that the schema says")
	}
	if len(old.Times) > 0 && len(events.Times) > 0 && events.Times[0] < old.Times[n-1] {
		faults.Add("events.times[0]", rank.ReasonInvalidField, "it is earlier than the newest stored event", "append events oldest first")
	}
	if err := faults.Err(); err != nil {
		return old, err
	}
	joined := rank.History{Items: rank.ItemIDs{
		Ints:    append(old.Items.Ints, events.Items.Ints...),
		Strings: append(old.Items.Strings, events.Items.Strings...),
	}}
	if len(old.Actions) > 0 || len(events.Actions) > 0 {
		joined.Actions = make([]string, n+added)
		copy(joined.Actions, old.Actions)
		copy(joined.Actions[n:], events.Actions)
	}
	if len(old.Times) > 0 || len(events.Times) > 0 {
		joined.Times = make([]int64, n+added)
		copy(joined.Times, old.Times)
		copy(joined.Times[n:], events.Times)
		for i := n; i < n+added && len(events.Times) == 0; i++ {
			joined.Times[i] = old.Times[n-1]
		}
	}
	return joined, nil
}

// dropOldest removes the first n events.
func dropOldest(h rank.History, n int) rank.History {
	if h.Items.Ints != nil {
		h.Items.Ints = h.Items.Ints[n:]
	}
	if h.Items.Strings != nil {
		h.Items.Strings = h.Items.Strings[n:]
	}
	if h.Actions != nil {
		h.Actions = h.Actions[n:]
	}
	if h.Times != nil {
		h.Times = h.Times[n:]
	}
	return h
}

var _ Store = (*BoltStore)(nil)

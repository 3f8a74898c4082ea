package feature

import (
	"context"
	"errors"
	"io"

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
	// events now held.
	Append(ctx context.Context, userID string, events rank.History, features rank.Features) (stored int64, err error)
	// Get is what is held of a user: rank.ErrUserNotFound when nothing is.
	Get(ctx context.Context, userID string) (*User, error)
	Close() error
}

// StoreOptions of a bbolt store; zero fields take the defaults.
type StoreOptions struct {
	MaxEvents int // events kept per user; default 2048
}

// BoltStore is a Store in one file.
type BoltStore struct{}

// OpenStore opens or makes the store at path.
func OpenStore(path string, opts StoreOptions) (*BoltStore, error) {
	return nil, errors.New("not written yet")
}

// Append implements Store.
func (s *BoltStore) Append(ctx context.Context, userID string, events rank.History, features rank.Features) (int64, error) {
	return 0, nil
}

// Get implements Store.
func (s *BoltStore) Get(ctx context.Context, userID string) (*User, error) { return nil, nil }

// Import appends JSON lines of shortlist.v1.AppendRequest in batched transactions. A faulty line stops it
// with its number in the error; lines before it may have been stored.
func (s *BoltStore) Import(ctx context.Context, r io.Reader) (users int64, err error) { return 0, nil }

// Close implements Store.
func (s *BoltStore) Close() error { return nil }

var _ Store = (*BoltStore)(nil)

package rpc

import (
	"context"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

type userServer struct {
	shortlistv1.UnimplementedUserServiceServer
	opts *Options
	deps Deps
}

// Append checks the events and features as a request would be, against the active release too where there
// is one: a user that no release can read must not get into the store.
func (s *userServer) Append(ctx context.Context, in *shortlistv1.AppendRequest) (*shortlistv1.AppendResponse, error) {
	if s.deps.Store == nil {
		return nil, errNoStore
	}
	c := newConverter(s.opts)
	id := c.userID(in.GetUserId())
	events := c.history("events", in.GetEvents())
	features := c.features("features", in.GetFeatures())
	if err := c.faults.Merge(s.deps.Funnel.CheckUser("events", "features", events, features)); err != nil {
		return nil, err
	}
	if err := c.faults.Err(); err != nil {
		return nil, err
	}
	stored, err := s.deps.Store.Append(ctx, id, events, features)
	if err != nil {
		return nil, err
	}
	return &shortlistv1.AppendResponse{EventsStored: uint64(stored)}, nil
}

func (s *userServer) GetUser(ctx context.Context, in *shortlistv1.GetUserRequest) (*shortlistv1.GetUserResponse, error) {
	if s.deps.Store == nil {
		return nil, errNoStore
	}
	c := newConverter(s.opts)
	id := c.userID(in.GetUserId())
	if err := c.faults.Err(); err != nil {
		return nil, err
	}
	user, err := s.deps.Store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &shortlistv1.GetUserResponse{User: &shortlistv1.User{Id: id, History: history(user.History), Features: values(user.Features)}}, nil
}

func (c *converter) userID(id string) string {
	if id == "" {
		c.faults.Add("user_id", rank.ReasonMissingField, "is empty", "name the user")
	}
	return c.id("user_id", id)
}

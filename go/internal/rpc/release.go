package rpc

import (
	"context"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
)

type releaseServer struct {
	shortlistv1.UnimplementedReleaseServiceServer
	deps Deps
}

func (s *releaseServer) ListReleases(context.Context, *shortlistv1.ListReleasesRequest) (*shortlistv1.ListReleasesResponse, error) {
	releases, err := s.deps.Repository.List()
	if err != nil {
		return nil, err
	}
	out := &shortlistv1.ListReleasesResponse{}
	for _, r := range releases {
		out.Releases = append(out.Releases, release(r))
	}
	return out, nil
}

func (s *releaseServer) GetStatus(context.Context, *shortlistv1.GetStatusRequest) (*shortlistv1.GetStatusResponse, error) {
	active, previous := s.deps.Repository.Status()
	out := &shortlistv1.GetStatusResponse{PreviousReleaseId: previous, Provider: s.deps.Runtime.Provider()}
	if snapshot, unpin, err := s.deps.Repository.Acquire(); err == nil {
		defer unpin()
		out.Active, out.Items = release(active), uint64(snapshot.Dims.I)
	}
	return out, nil
}

func (s *releaseServer) LoadRelease(ctx context.Context, in *shortlistv1.LoadReleaseRequest) (*shortlistv1.LoadReleaseResponse, error) {
	if err := checkReleaseID(in.GetReleaseId()); err != nil {
		return nil, err
	}
	if err := s.deps.Repository.Load(ctx, in.GetReleaseId()); err != nil {
		return nil, err
	}
	return &shortlistv1.LoadReleaseResponse{Release: s.find(in.GetReleaseId())}, nil
}

func (s *releaseServer) Activate(ctx context.Context, in *shortlistv1.ActivateRequest) (*shortlistv1.ActivateResponse, error) {
	if err := checkReleaseID(in.GetReleaseId()); err != nil {
		return nil, err
	}
	previous, err := s.deps.Repository.Activate(ctx, in.GetReleaseId())
	if err != nil {
		return nil, err
	}
	return &shortlistv1.ActivateResponse{Release: s.find(in.GetReleaseId()), PreviousReleaseId: previous}, nil
}

func (s *releaseServer) RollBack(ctx context.Context, _ *shortlistv1.RollBackRequest) (*shortlistv1.RollBackResponse, error) {
	id, err := s.deps.Repository.RollBack(ctx)
	if err != nil {
		return nil, err
	}
	return &shortlistv1.RollBackResponse{Release: s.find(id)}, nil
}

func (s *releaseServer) SelfTest(ctx context.Context, in *shortlistv1.SelfTestRequest) (*shortlistv1.SelfTestResponse, error) {
	snapshot, unpin, err := acquire(s.deps.Repository, in.GetReleaseId())
	if err != nil {
		return nil, err
	}
	defer unpin()
	report, err := s.deps.Replayer.Replay(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	return &shortlistv1.SelfTestResponse{
		Passed: report.Violations == 0, Cases: uint32(report.Cases), Violations: uint32(report.Violations),
		WorstRatio: report.WorstRatio, WorstAt: report.WorstAt, Messages: report.Messages,
	}, nil
}

func acquire(r *repository.Repository, id string) (*repository.Snapshot, func(), error) {
	if id == "" {
		return r.Acquire()
	}
	return r.AcquireRelease(id)
}

func checkReleaseID(id string) error {
	var faults rank.Faults
	if id == "" {
		faults.Add("release_id", rank.ReasonMissingField, "is empty", "name a release of ListReleases")
	}
	return faults.Err()
}

// find describes a release that was just loaded.
func (s *releaseServer) find(id string) *shortlistv1.Release {
	releases, err := s.deps.Repository.List()
	if err == nil {
		for _, r := range releases {
			if r.ID == id {
				return release(r)
			}
		}
	}
	return &shortlistv1.Release{ReleaseId: id, State: shortlistv1.ReleaseState_RELEASE_STATE_LOADED}
}

func release(r repository.Release) *shortlistv1.Release {
	return &shortlistv1.Release{
		ReleaseId: r.ID, State: shortlistv1.ReleaseState(r.State), Reason: r.Reason, CreatedAt: r.CreatedAt, Digest: r.Digest}
}

package rpc

import (
	"context"
	"fmt"
	"slices"

	"github.com/shortlist-serving/shortlist/go/gen/inference"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// inferenceServer speaks the Open Inference Protocol v2 over the graphs of a release, so that stock clients
// can call any of them: the seven, and those that the release adds. A model is a graph, and a model version is a release id.
type inferenceServer struct {
	inference.UnimplementedGRPCInferenceServiceServer
	deps Deps
}

// platform is the protocol's word for ONNX graphs.
const platform = "onnx_onnxv1"

func (s *inferenceServer) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

func (s *inferenceServer) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	_, unpin, err := s.deps.Repository.Acquire()
	if err == nil {
		unpin()
	}
	return &inference.ServerReadyResponse{Ready: err == nil}, nil
}

func (s *inferenceServer) ModelReady(_ context.Context, in *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	_, _, unpin, err := s.pin(in.GetName(), in.GetVersion())
	if err == nil {
		unpin()
	}
	return &inference.ModelReadyResponse{Ready: err == nil}, nil
}

func (s *inferenceServer) ServerMetadata(context.Context, *inference.ServerMetadataRequest) (*inference.ServerMetadataResponse, error) {
	return &inference.ServerMetadataResponse{Name: "shortlistd", Version: s.deps.Version, Extensions: []string{"model_repository"}}, nil
}

func (s *inferenceServer) ModelMetadata(_ context.Context, in *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	snapshot, session, unpin, err := s.pin(in.GetName(), in.GetVersion())
	if err != nil {
		return nil, err
	}
	defer unpin()
	return &inference.ModelMetadataResponse{
		Name: in.GetName(), Versions: []string{snapshot.ID}, Platform: platform,
		Inputs: describeTensors(session.Inputs()), Outputs: describeTensors(session.Outputs()),
	}, nil
}

func (s *inferenceServer) RepositoryIndex(_ context.Context, in *inference.RepositoryIndexRequest) (*inference.RepositoryIndexResponse, error) {
	releases, err := s.deps.Repository.List()
	if err != nil {
		return nil, err
	}
	out := &inference.RepositoryIndexResponse{}
	for _, r := range releases {
		state := "UNAVAILABLE"
		if r.State == repository.Active || r.State == repository.Loaded {
			state = "READY"
		}
		if in.GetReady() && state != "READY" {
			continue
		}
		for _, graph := range s.graphNames(r.ID) {
			out.Models = append(out.Models, &inference.RepositoryIndexResponse_ModelIndex{
				Name: graph, Version: r.ID, State: state, Reason: r.Reason})
		}
	}
	return out, nil
}

// ModelInfer runs one graph as one task of the pool, admitted like any other request.
func (s *inferenceServer) ModelInfer(ctx context.Context, in *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	snapshot, session, unpin, err := s.pin(in.GetModelName(), in.GetModelVersion())
	if err != nil {
		return nil, err
	}
	defer unpin()
	var faults rank.Faults
	inputs := decodeInputs(in, session.Inputs(), &faults)
	wanted := requestedOutputs(in, session.Outputs(), &faults)
	if faults.Err() == nil {
		checkSizes(graphOf(snapshot, in.GetModelName()), session.Inputs(), inputs, &faults)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	cost := elements(inputs)
	deadline, _ := ctx.Deadline()
	ctx = rank.WithBudget(ctx, rank.NewBudget(deadline, cost, rank.Normal).ForTenant(tenantOf(ctx)))
	leave, err := s.deps.Gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	outputs := make([]runtime.Tensor, len(session.Outputs()))
	_, err = s.deps.Pool.Do(ctx, []batching.Task{{Cost: cost, Run: func(ctx context.Context) error { return session.Run(ctx, inputs, outputs) }}})
	if err != nil {
		return nil, s.asInferError(in.GetModelName(), err)
	}
	out := &inference.ModelInferResponse{ModelName: in.GetModelName(), ModelVersion: snapshot.ID, Id: in.GetId()}
	encodeOutputs(out, session.Outputs(), outputs, wanted)
	return out, nil
}

// graphNames lists the graphs of a release; of one that is not loaded those that every release has.
func (s *inferenceServer) graphNames(release string) []string {
	snapshot, unpin, err := s.deps.Repository.AcquireRelease(release)
	if err != nil {
		return bundle.GraphNames
	}
	defer unpin()
	return snapshot.GraphNames()
}

// pin holds the release of a version and finds the graph of a name.
func (s *inferenceServer) pin(name, version string) (*repository.Snapshot, runtime.Session, func(), error) {
	snapshot, unpin, err := acquire(s.deps.Repository, version)
	if err != nil {
		if version != "" {
			return nil, nil, nil, &modelNotFoundError{"no release of this version is loaded; leave model_version empty for the active one"}
		}
		return nil, nil, nil, err
	}
	session := snapshot.Session(name)
	if session == nil {
		defer unpin()
		return nil, nil, nil, &modelNotFoundError{fmt.Sprintf("there is no model of this name; the models are %v", snapshot.GraphNames())}
	}
	return snapshot, session, unpin, nil
}

// elements is the cost of a call: its size in rows of 64 numbers, at least 1.
func elements(tensors []runtime.Tensor) int64 {
	var n int64
	for _, t := range tensors {
		n += int64(len(t.F32) + len(t.I64) + len(t.Bool))
	}
	return 1 + n/64
}

func describeTensors(specs []runtime.TensorSpec) []*inference.ModelMetadataResponse_TensorMetadata {
	out := make([]*inference.ModelMetadataResponse_TensorMetadata, len(specs))
	for i, spec := range specs {
		shape := make([]int64, len(spec.Shape))
		for d, size := range spec.Shape {
			shape[d] = max(size, -1)
		}
		out[i] = &inference.ModelMetadataResponse_TensorMetadata{Name: spec.Name, Datatype: datatype(spec.DType), Shape: shape}
	}
	return out
}

// requestedOutputs says for each output whether it was asked for; none asked for means all.
func requestedOutputs(in *inference.ModelInferRequest, specs []runtime.TensorSpec, faults *rank.Faults) []bool {
	wanted := make([]bool, len(specs))
	for i, output := range in.GetOutputs() {
		at := slices.IndexFunc(specs, func(spec runtime.TensorSpec) bool { return spec.Name == output.GetName() })
		path := fmt.Sprintf("outputs[%d].name", i)
		switch {
		case at < 0:
			faults.Add(path, rank.ReasonInvalidField, "is no output of the model", fmt.Sprintf("the outputs are %v", names(specs)))
		case wanted[at]:
			faults.Add(path, rank.ReasonInvalidField, "is asked for twice", "name each output once")
		default:
			wanted[at] = true
		}
	}
	if len(in.GetOutputs()) == 0 {
		for i := range wanted {
			wanted[i] = true
		}
	}
	return wanted
}

func names(specs []runtime.TensorSpec) []string {
	out := make([]string, len(specs))
	for i, spec := range specs {
		out[i] = spec.Name
	}
	return out
}

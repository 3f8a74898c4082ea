package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/shortlist-serving/shortlist/go/gen/inference"
	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counts is an Observer.
type counts struct{ started, ended, answered, recovered atomic.Int64 }

func (c *counts) CallStarted()                            { c.started.Add(1) }
func (c *counts) CallEnded(string, string, time.Duration) { c.ended.Add(1) }
func (c *counts) Answered(*rank.Result)                   { c.answered.Add(1) }
func (c *counts) Recovered()                              { c.recovered.Add(1) }

// world is both servers over the fake release, on connections in memory.
type world struct {
	servers     *Servers
	data, admin *grpc.ClientConn
	runtime     *fake.Runtime
	counts      *counts
	stop        func(context.Context)
}

func newWorld(t *testing.T, opts Options, edit func(*Deps)) *world {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	dir := t.TempDir()
	ranktest.Write(t, dir, ranktest.Options{Edit: ranktest.AddDouble})
	w := &world{runtime: ranktest.Runtime(t, ranktest.Bundle(t, ranktest.Options{})), counts: &counts{}}
	repo, err := repository.New(repository.Options{Dir: dir, Runtime: w.runtime, Prepare: funnel.Prepare(retrieval.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate, pool := batching.NewGate(batching.GateOptions{}), batching.NewPool(batching.PoolOptions{Workers: 2})
	f := funnel.New(funnel.Options{}, repo, gate, pool, kvcache.New(kvcache.Options{}), nil, nil, logger)
	deps := Deps{
		Funnel: f, Replayer: funnel.NewReplayer(f, ParseRequest), Repository: repo, Gate: gate, Pool: pool, Runtime: w.runtime,
		Observer: w.counts, Logger: logger, Version: "test",
	}
	if edit != nil {
		edit(&deps)
	}
	w.servers = New(opts, deps)
	var once sync.Once
	w.stop = func(ctx context.Context) { once.Do(func() { w.servers.Stop(ctx) }) }
	w.data, w.admin = connect(t, w.servers.Data), connect(t, w.servers.Admin)
	t.Cleanup(func() {
		_, _ = w.data.Close(), w.admin.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		w.stop(ctx)
		pool.Close()
		if err := repo.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}

func connect(t *testing.T, server *grpc.Server) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	go func() { _ = server.Serve(listener) }() // ends with Stop
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// raw sends bytes as they are.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return v.([]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (raw) Name() string                       { return "proto" }

func TestRecommendAndFriends(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	client := shortlistv1.NewRankingServiceClient(w.data)
	ctx := t.Context()
	answer, err := client.Recommend(ctx, &shortlistv1.RecommendRequest{Limit: 3, Time: 2_000_000_000})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.GetItems().GetInts()) != 3 || len(answer.GetScores()) != 3 || len(answer.GetTasks()) != 2 ||
		len(answer.GetTasks()[0].GetPredictions()) != 3 || answer.GetRequestId() == "" || answer.GetReleaseId() == "" ||
		answer.GetCoverage().GetRung() != shortlistv1.Rung_RUNG_FULL || answer.GetCoverage().GetDegraded() {
		t.Errorf("answer: %v", answer)
	}
	ranked, err := client.Rank(ctx, &shortlistv1.RecommendRequest{Candidates: answer.GetItems(), RequestId: "mine"})
	if err != nil || len(ranked.GetItems().GetInts()) != 3 || ranked.GetRequestId() != "mine" {
		t.Errorf("ranked: %v, %v", ranked, err)
	}
	retrieved, err := client.Retrieve(ctx, &shortlistv1.RecommendRequest{})
	if err != nil || len(retrieved.GetTasks()) != 0 || len(retrieved.GetStages()) != 1 {
		t.Errorf("retrieved: %v, %v", retrieved, err)
	}
	batch, err := client.BatchRecommend(ctx, &shortlistv1.BatchRecommendRequest{Requests: []*shortlistv1.RecommendRequest{{Limit: 2}, {Limit: -1}}})
	if err != nil {
		t.Fatal(err)
	}
	if batch.GetResults()[0].GetResponse() == nil || batch.GetResults()[1].GetError().GetCode() != int32(codes.InvalidArgument) {
		t.Errorf("batch: %v", batch)
	}
	if w.counts.answered.Load() != 4 || w.counts.started.Load() != 4 || w.counts.ended.Load() != 4 {
		t.Errorf("counts: %d answered, %d started, %d ended", w.counts.answered.Load(), w.counts.started.Load(), w.counts.ended.Load())
	}
}

// The faults against the schema stand in one list with those of the message.
func TestFaultsOfMessageAndSchemaComeTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	_, err := shortlistv1.NewRankingServiceClient(w.data).Recommend(t.Context(), &shortlistv1.RecommendRequest{
		Time: -1, Limit: 1000, Context: map[string]*shortlistv1.Value{"planet": {Kind: &shortlistv1.Value_Text{Text: "mars"}}}})
	if status.Code(err) != codes.InvalidArgument {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	for _, detail := range status.Convert(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.GetFieldViolations() {
				fields[violation.GetField()] = true
			}
		}
	}
	if !fields["time"] || !fields["limit"] || !fields["context[planet]"] {
		t.Errorf("fields: %v", fields)
	}
}

func TestUndecodableMessagesAreTheCallersFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxMessageBytes: 1000}, nil)
	for name, test := range map[string]struct {
		message []byte
		code    codes.Code
	}{
		"not UTF-8":    {[]byte{0x0a, 0x02, 0xff, 0xfe}, codes.InvalidArgument},
		"not protobuf": {[]byte{0xff, 0xff, 0xff}, codes.InvalidArgument},
		"too large":    {make([]byte, 2000), codes.ResourceExhausted},
	} {
		var out []byte
		err := w.data.Invoke(t.Context(), "/shortlist.v1.RankingService/Recommend", test.message, &out, grpc.ForceCodec(raw{}))
		if status.Code(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDebugNeedsItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Debug: DebugOptions{Token: "secret"}}, nil)
	client := shortlistv1.NewRankingServiceClient(w.data)
	in := &shortlistv1.RecommendRequest{Debug: &shortlistv1.Debug{ExplainResults: true}}
	for token, code := range map[string]codes.Code{
		"": codes.PermissionDenied, "Bearer wrong": codes.PermissionDenied, "secret": codes.PermissionDenied, "Bearer secret": codes.OK,
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", token)
		answer, err := client.Recommend(ctx, in)
		if status.Code(err) != code {
			t.Errorf("token %q: %v", token, err)
		}
		if err == nil && len(answer.GetExplanations()) != len(answer.GetItems().GetInts()) {
			t.Errorf("explanations: %v", answer.GetExplanations())
		}
	}
}

func TestAPanicCostsOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, func(d *Deps) { d.Repository = nil })
	_, err := shortlistv1.NewReleaseServiceClient(w.admin).GetStatus(t.Context(), &shortlistv1.GetStatusRequest{})
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != "internal error; the server's log says more under the request id" {
		t.Errorf("status: %v", s)
	}
	if w.counts.recovered.Load() != 1 {
		t.Errorf("%d panics were counted", w.counts.recovered.Load())
	}
	if _, err := shortlistv1.NewRankingServiceClient(w.data).Recommend(t.Context(), &shortlistv1.RecommendRequest{}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestPortsServeTheirServicesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	ctx := t.Context()
	if _, err := shortlistv1.NewReleaseServiceClient(w.data).GetStatus(ctx, &shortlistv1.GetStatusRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("releases on the data port: %v", err)
	}
	if err := listServices(ctx, w.data); status.Code(err) != codes.Unimplemented {
		t.Errorf("reflection on the data port: %v", err)
	}
	if err := listServices(ctx, w.admin); err != nil {
		t.Errorf("reflection on the admin port: %v", err)
	}
	if _, err := shortlistv1.NewUserServiceClient(w.data).GetUser(ctx, &shortlistv1.GetUserRequest{UserId: "u"}); status.Code(err) != codes.Unimplemented {
		t.Errorf("users without a store: %v", err)
	}
}

func listServices(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	answer, err := stream.Recv()
	if err == nil && len(answer.GetListServicesResponse().GetService()) < 5 {
		return errors.New("reflection lists too few services")
	}
	return err
}

func TestHealthFollowsServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	client := healthv1.NewHealthClient(w.data)
	for _, serving := range []bool{false, true, false} {
		w.servers.SetServing(serving)
		for _, service := range []string{"", "shortlist.v1.RankingService", "shortlist.v1.ReleaseService"} {
			answer, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
			if err != nil || (answer.GetStatus() == healthv1.HealthCheckResponse_SERVING) != serving {
				t.Errorf("serving %v, %q: %v, %v", serving, service, answer, err)
			}
		}
	}
}

// A health watch never ends by itself; it must not hold up a drain. A running call must finish.
func TestStopEndsWatchesAndFinishesCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	watch, err := healthv1.NewHealthClient(w.data).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	w.runtime.Inject(bundle.Ranker, fake.Fault{Delay: 100 * time.Millisecond})
	answered := make(chan error, 1)
	go func() {
		_, err := shortlistv1.NewRankingServiceClient(w.data).Recommend(t.Context(), &shortlistv1.RecommendRequest{})
		answered <- err
	}()
	for w.counts.started.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w.stop(ctx)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the drain took %s", took)
	}
	if err := <-answered; err != nil {
		t.Errorf("a running call was cut: %v", err)
	}
}

func TestGraphsBesideTheSixAreServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	client := inference.NewGRPCInferenceServiceClient(w.data)
	answer, err := client.ModelInfer(t.Context(), &inference.ModelInferRequest{ModelName: ranktest.Double,
		Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "values", Datatype: "FP32", Shape: []int64{2},
			Contents: &inference.InferTensorContents{Fp32Contents: []float32{1, 4}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := answer.GetRawOutputContents()[0], rawBytes(runtime.Floats([]float32{2, 8}, 2)); !slices.Equal(got, want) {
		t.Errorf("answer % x, want % x", got, want)
	}
	described, err := client.ModelMetadata(t.Context(), &inference.ModelMetadataRequest{Name: ranktest.Double})
	if err != nil || len(described.GetInputs()) != 1 || described.GetInputs()[0].GetShape()[0] != -1 {
		t.Errorf("metadata %v, %v", described, err)
	}
	index, err := client.RepositoryIndex(t.Context(), &inference.RepositoryIndexRequest{})
	if err != nil || len(index.GetModels()) != len(bundle.GraphNames)+1 {
		t.Errorf("index %v, %v", index, err)
	}
}

func TestInferenceChecksEveryInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, nil)
	client := inference.NewGRPCInferenceServiceClient(w.data)
	good := func() *inference.ModelInferRequest {
		tensor := func(name string, values []float32, shape ...int64) *inference.ModelInferRequest_InferInputTensor {
			return &inference.ModelInferRequest_InferInputTensor{Name: name, Datatype: "FP32", Shape: shape,
				Contents: &inference.InferTensorContents{Fp32Contents: values}}
		}
		return &inference.ModelInferRequest{ModelName: "preranker", Id: "7", Inputs: []*inference.ModelInferRequest_InferInputTensor{
			tensor("cross", make([]float32, 2*ranktest.C), 1, 2, ranktest.C),
			tensor("query_vectors", make([]float32, ranktest.Q*ranktest.K), 1, ranktest.Q, ranktest.K),
			tensor("retrieval_vector", make([]float32, 2*ranktest.K), 1, 2, ranktest.K),
		}}
	}
	answer, err := client.ModelInfer(t.Context(), good())
	if err != nil || answer.GetId() != "7" || len(answer.GetRawOutputContents()[0]) != 8 || answer.GetModelVersion() == "" {
		t.Fatalf("%v, %v", answer, err)
	}
	for name, test := range map[string]struct {
		edit func(*inference.ModelInferRequest)
		code codes.Code
	}{
		"unknown model":   {func(r *inference.ModelInferRequest) { r.ModelName = "x" }, codes.NotFound},
		"unknown version": {func(r *inference.ModelInferRequest) { r.ModelVersion = "x" }, codes.NotFound},
		"missing":         {func(r *inference.ModelInferRequest) { r.Inputs = r.Inputs[1:] }, codes.InvalidArgument},
		"duplicate":       {func(r *inference.ModelInferRequest) { r.Inputs = append(r.Inputs, r.Inputs[0]) }, codes.InvalidArgument},
		"unknown input":   {func(r *inference.ModelInferRequest) { r.Inputs[0].Name = "x" }, codes.InvalidArgument},
		"half floats":     {func(r *inference.ModelInferRequest) { r.Inputs[0].Datatype = "FP16" }, codes.InvalidArgument},
		"negative size":   {func(r *inference.ModelInferRequest) { r.Inputs[0].Shape[1] = -2 }, codes.InvalidArgument},
		"overflow":        {func(r *inference.ModelInferRequest) { r.Inputs[0].Shape[1] = 1 << 62 }, codes.InvalidArgument},
		"wrong rank":      {func(r *inference.ModelInferRequest) { r.Inputs[0].Shape = []int64{2} }, codes.InvalidArgument},
		"short contents":  {func(r *inference.ModelInferRequest) { r.Inputs[0].Contents = nil }, codes.InvalidArgument},
		"raw and typed":   {func(r *inference.ModelInferRequest) { r.RawInputContents = make([][]byte, 3) }, codes.InvalidArgument},
		"raw count":       {func(r *inference.ModelInferRequest) { r.RawInputContents = make([][]byte, 1) }, codes.InvalidArgument},
		"unknown output": {func(r *inference.ModelInferRequest) {
			r.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "x"}}
		}, codes.InvalidArgument},
		"sizes that disagree": {func(r *inference.ModelInferRequest) {
			r.Inputs[0].Shape[1], r.Inputs[0].Contents.Fp32Contents = 1, make([]float32, ranktest.C)
		}, codes.InvalidArgument},
	} {
		request := good()
		test.edit(request)
		if _, err := client.ModelInfer(t.Context(), request); status.Code(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

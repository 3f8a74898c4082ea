package rpc

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/shortlist-serving/shortlist/go/gen/inference"
	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Observer is told what calls do; *telemetry.Metrics is one.
type Observer interface {
	CallStarted()
	CallEnded(method, code string, took time.Duration)
	Answered(result *rank.Result)
	Recovered()
}

// Deps are what the services work with.
type Deps struct {
	Funnel     *funnel.Funnel
	Replayer   *funnel.Replayer
	Repository *repository.Repository
	Gate       *batching.Gate
	Pool       *batching.Pool
	Runtime    runtime.Runtime
	Store      feature.Store // nil: user calls are unimplemented
	Observer   Observer
	Logger     *slog.Logger
	Version    string
}

// Servers are the two doors: Data answers callers, Admin controls releases and describes the services.
type Servers struct {
	Data     *grpc.Server
	Admin    *grpc.Server
	health   *health.Server
	stopping chan struct{}
}

// New builds both servers. They are not ready before SetServing(true).
func New(opts Options, deps Deps) *Servers {
	opts.EnsureDefaults()
	stopping := make(chan struct{})
	s := &Servers{Data: newServer(opts, deps, stopping), Admin: newServer(opts, deps, stopping), health: health.NewServer(), stopping: stopping}
	ranking := &rankingServer{opts: &opts, deps: deps}
	register(s.Data, &shortlistv1.RankingService_ServiceDesc, ranking)
	register(s.Data, &shortlistv1.UserService_ServiceDesc, &userServer{opts: &opts, deps: deps})
	register(s.Data, &inference.GRPCInferenceService_ServiceDesc, &inferenceServer{deps: deps})
	register(s.Admin, &shortlistv1.ReleaseService_ServiceDesc, &releaseServer{deps: deps})
	healthv1.RegisterHealthServer(s.Data, s.health)
	healthv1.RegisterHealthServer(s.Admin, s.health)
	// Reflection on the admin port describes what the data port serves, without the data port serving it.
	reflection.RegisterV1(describe{s.Data, s.Admin})
	s.SetServing(false)
	return s
}

// describe registers reflection on one server with the services of both.
type describe struct{ data, admin *grpc.Server }

func (d describe) RegisterService(desc *grpc.ServiceDesc, impl any) {
	d.admin.RegisterService(desc, impl)
}

func (d describe) GetServiceInfo() map[string]grpc.ServiceInfo {
	services := d.data.GetServiceInfo()
	for name, info := range d.admin.GetServiceInfo() {
		services[name] = info
	}
	return services
}

// SetServing sets the health of the process and of each service.
func (s *Servers) SetServing(serving bool) {
	state := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", state)
	for _, server := range []*grpc.Server{s.Data, s.Admin} {
		for name := range server.GetServiceInfo() {
			s.health.SetServingStatus(name, state)
		}
	}
}

// Stop says NOT_SERVING, lets running calls finish until ctx ends, and then cuts them. It is called once.
func (s *Servers) Stop(ctx context.Context) {
	s.health.Shutdown()
	close(s.stopping)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Data.GracefulStop()
		s.Admin.GracefulStop()
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.Data.Stop()
		s.Admin.Stop()
		<-stopped
	}
}

func newServer(opts Options, deps Deps, stopping <-chan struct{}) *grpc.Server {
	guard := &interceptor{observer: deps.Observer, logger: deps.Logger, stopping: stopping}
	return grpc.NewServer(
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(opts.MaxMessageBytes),
		grpc.MaxConcurrentStreams(uint32(opts.MaxStreams)),
		grpc.MaxHeaderListSize(8<<10),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: opts.MaxIdle, MaxConnectionAge: opts.MaxAge, MaxConnectionAgeGrace: time.Minute,
			Time: 2 * time.Minute, Timeout: 20 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: opts.MinPing, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.InTapHandle(arrive),
		grpc.UnaryInterceptor(guard.unary),
		grpc.StreamInterceptor(guard.stream),
	)
}

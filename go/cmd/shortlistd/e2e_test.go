package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/shortlist-serving/shortlist/go/gen/inference"
	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/ort"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../../.." // of the repository

// library finds ONNX Runtime, or skips.
func library(t testing.TB) string {
	t.Helper()
	file, err := ort.FindLibrary(os.Getenv("SHORTLIST_ORT_LIB"), filepath.Join(root, ".venv"))
	if err != nil {
		t.Skipf("ONNX Runtime is not here; set SHORTLIST_ORT_LIB to libonnxruntime.so, or run make setup: %v", err)
	}
	return file
}

// toy is the tracked toy release.
func toy(t testing.TB) string {
	t.Helper()
	releases, err := filepath.Glob(filepath.Join(root, "models", "toy", "2*"))
	if err != nil || len(releases) == 0 {
		t.Skip("models/toy has no release; make it with python -m shortlist.testing.toy models")
	}
	return releases[len(releases)-1]
}

// The tests of this package run one after the other: a process has one ONNX Runtime.

func TestVerifyProvesTheToyRelease(t *testing.T) {
	var out, log bytes.Buffer
	err := run(t.Context(), []string{"-runtime.library=" + library(t), "verify", toy(t)}, nil, nil, &out, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if !strings.Contains(out.String(), "passed: 40 golden cases") {
		t.Errorf("verdict: %s", &out)
	}
}

func TestVerifyRefusesAnAlteredRelease(t *testing.T) {
	release := toy(t)
	altered := filepath.Join(t.TempDir(), "toy", filepath.Base(release))
	if err := os.CopyFS(altered, os.DirFS(release)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(altered, "golden", "tensors.safetensors")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 0x40
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	err = run(t.Context(), []string{"-runtime.library=" + library(t), "verify", altered}, nil, nil, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "golden/tensors.safetensors") {
		t.Errorf("the altered file is not named: %v", err)
	}
}

// server is shortlistd in this process.
type server struct {
	data, admin *grpc.ClientConn
	metrics     string
	stop        func() error
	served      string
}

func startServer(t testing.TB, flags ...string) *server {
	t.Helper()
	s := &server{served: filepath.Join(t.TempDir(), "served.jsonl")}
	ctx, cancel := context.WithCancel(context.Background())
	logs, log := io.Pipe()
	done := make(chan error, 1)
	arguments := append([]string{
		"-models=" + filepath.Join(root, "models", "toy"), "-runtime.library=" + library(t), "-data.address=127.0.0.1:0",
		"-admin.address=127.0.0.1:0", "-metrics.address=127.0.0.1:0", "-drain.delay=10ms",
		"-store.path=" + filepath.Join(t.TempDir(), "users.db"), "-debug.allow_all", "-telemetry.served_log=" + s.served,
	}, flags...)
	go func() {
		err := run(ctx, arguments, nil, nil, io.Discard, log)
		_ = log.Close()
		done <- err
	}()
	ready := make(chan map[string]any, 1)
	go func() {
		lines := json.NewDecoder(logs)
		for {
			var line map[string]any
			if lines.Decode(&line) != nil {
				_, _ = io.Copy(io.Discard, logs)
				return
			}
			if line["msg"] == "ready" {
				ready <- line
			}
		}
	}()
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	select {
	case line := <-ready:
		s.data, s.admin, s.metrics = dial(t, line["data"]), dial(t, line["admin"]), line["metrics"].(string)
	case err := <-done:
		t.Fatalf("the server did not start: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the server is not ready after 30 s")
	}
	t.Cleanup(func() {
		_, _ = s.data.Close(), s.admin.Close()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t testing.TB, address any) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address.(string), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestServe(t *testing.T) {
	toy(t)
	s := startServer(t)
	ctx, ranking := t.Context(), shortlistv1.NewRankingServiceClient(s.data)

	t.Run("recommends for a stored user", func(t *testing.T) {
		users := shortlistv1.NewUserServiceClient(s.data)
		first, err := ranking.Recommend(ctx, &shortlistv1.RecommendRequest{Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		events := &shortlistv1.History{Items: &shortlistv1.ItemIds{Strings: first.GetItems().GetStrings()[:1]}}
		if _, err := users.Append(ctx, &shortlistv1.AppendRequest{UserId: "ann", Events: events}); err != nil {
			t.Fatal(err)
		}
		answer, err := ranking.Recommend(ctx, &shortlistv1.RecommendRequest{User: &shortlistv1.User{Id: "ann"}, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range answer.GetItems().GetStrings() {
			if id == events.GetItems().GetStrings()[0] {
				t.Errorf("a seen item is recommended again: %s", id)
			}
		}
		if answer.GetCoverage().GetRung() != shortlistv1.Rung_RUNG_FULL || len(answer.GetItems().GetStrings()) != 10 {
			t.Errorf("answer: %v", answer)
		}
	})

	t.Run("serves the graphs by the open protocol", func(t *testing.T) {
		client := inference.NewGRPCInferenceServiceClient(s.data)
		meta, err := client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: "item_encoder"})
		if err != nil {
			t.Fatal(err)
		}
		if len(meta.GetOutputs()) != 2 || meta.GetOutputs()[0].GetShape()[0] != -1 {
			t.Errorf("metadata: %v", meta)
		}
	})

	t.Run("keeps control off the data port", func(t *testing.T) {
		_, err := shortlistv1.NewReleaseServiceClient(s.data).ListReleases(ctx, &shortlistv1.ListReleasesRequest{})
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("the data port answers %v", err)
		}
		admin := shortlistv1.NewReleaseServiceClient(s.admin)
		list, err := admin.ListReleases(ctx, &shortlistv1.ListReleasesRequest{})
		if err != nil || len(list.GetReleases()) == 0 {
			t.Errorf("the admin port answers %v, %v", list, err)
		}
		verdict, err := admin.SelfTest(ctx, &shortlistv1.SelfTestRequest{})
		if err != nil || !verdict.GetPassed() || verdict.GetCases() != 40 || verdict.GetWorstRatio() > 1 {
			t.Errorf("self-test: %v, %v", verdict, err)
		}
	})

	t.Run("tells its health and metrics", func(t *testing.T) {
		for _, service := range []string{"", "shortlist.v1.RankingService", "inference.GRPCInferenceService"} {
			health, err := healthv1.NewHealthClient(s.data).Check(ctx, &healthv1.HealthCheckRequest{Service: service})
			if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
				t.Errorf("health of %q: %v, %v", service, health, err)
			}
		}
		page := get(t, "http://"+s.metrics+"/metrics")
		for _, series := range []string{
			`shortlist_calls_total{code="OK",method="Recommend"} 2`, `shortlist_provider_info{provider="cpu"`, `shortlist_release_info{release="`,
			"shortlist_stage_seconds_bucket", "process_resident_memory_bytes", "shortlist_gate_cost",
		} {
			if !strings.Contains(page, series) {
				t.Errorf("the metrics lack %s", series)
			}
		}
		if got := get(t, "http://"+s.metrics+"/readyz"); got != "ready\n" {
			t.Errorf("readyz: %q", got)
		}
	})

	t.Run("writes what it served", func(t *testing.T) {
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(s.served)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d lines for 2 requests", len(lines))
		}
		for _, line := range lines {
			if !json.Valid([]byte(line)) || !strings.Contains(line, `"request"`) {
				t.Errorf("not a line to replay: %s", line)
			}
		}
	})
}

func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

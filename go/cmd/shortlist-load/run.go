package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/drive"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/machine"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/report"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/soak"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/trace"
)

// connectTimeout is how long a server may take to accept connections.
const connectTimeout = 5 * time.Second

// maxAnswer bounds one answer; 3,000 explained items fit.
const maxAnswer = 64 << 20

// result is a report of either kind.
type result interface {
	WriteTable(io.Writer) error
	WriteHTML(io.Writer) error
	exit() int
}

type loadResult struct{ *report.Load }

func (r loadResult) exit() int {
	switch {
	case r.Void:
		return exitVoid
	case !r.Kept():
		return exitFailed
	}
	return exitOK
}

type soakResult struct{ *report.Soak }

func (r soakResult) exit() int {
	switch {
	case len(r.Reasons) > 0:
		return exitVoid
	case !r.Passed:
		return exitFailed
	}
	return exitOK
}

// load holds every rate in turn.
func load(ctx context.Context, command []string, o *options, progress io.Writer) (result, error) {
	header := newHeader(command, o, "Load")
	generator, clients, disconnect, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	defer disconnect()
	driver := drive.New(clients, generator, drive.Options{Process: o.Arrivals, Deadline: o.Deadline, MaxInFlight: o.MaxInFlight, Seed: o.Mix.Seed})
	capacity := 1.0
	if o.Overload {
		_, _ = fmt.Fprintf(progress, "capacity: %d callers for %s\n", o.Callers, o.WarmUp)
		if capacity = driver.Capacity(ctx, o.Callers, o.WarmUp); capacity == 0 {
			return nil, errors.New("no call was answered in the warm-up, so there is no capacity to multiply: raise -deadline or -warmup")
		}
	} else if o.WarmUp > 0 {
		_, _ = fmt.Fprintf(progress, "warm-up: %g/s for %s\n", o.Rates[0], o.WarmUp)
		driver.Hold(ctx, o.Rates[0], o.WarmUp)
	}
	var steps []*drive.Step
	for i, rate := range o.Rates {
		rate *= capacity
		if ctx.Err() != nil {
			break
		}
		_, _ = fmt.Fprintf(progress, "step %d of %d: %.4g/s for %s\n", i+1, len(o.Rates), rate, o.Duration)
		steps = append(steps, driver.Hold(ctx, rate, o.Duration))
	}
	if len(steps) == 0 {
		return nil, errors.New("interrupted before the first step: nothing was measured")
	}
	result := report.NewLoad(header, steps)
	if o.Overload {
		result.JudgeOverload(capacity, o.Deadline)
	}
	return loadResult{result}, nil
}

// soakRun sends requests and watches the memory of a process.
func soakRun(ctx context.Context, command []string, o *options, progress io.Writer) (result, error) {
	process, err := machine.ReadProcess(o.PID)
	if err != nil {
		return nil, err
	}
	r := &report.Soak{Format: report.Format, Header: newHeader(command, o, "Memory soak"), PID: o.PID, Process: process.Name, LimitMB: o.GrowthMB}
	generator, clients, disconnect, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	defer disconnect()
	_, _ = fmt.Fprintf(progress, "soak: %d requests by %d callers\n", o.Requests, o.Callers)
	err = soak.Run(ctx, clients, generator, soak.Options{
		Requests: o.Requests, WarmUp: o.Requests / 5, Callers: o.Callers, Deadline: o.Deadline,
		Memory: func() (float64, error) {
			process, err := machine.ReadProcess(o.PID)
			return process.RSSMB, err
		},
	}, r)
	return soakResult{r}, err
}

func newHeader(command []string, o *options, kind string) report.Header {
	h := report.Header{Title: o.Title, Started: time.Now(), Command: command, Commit: o.Commit, Seed: o.Mix.Seed, Settings: o.settings, Machine: machine.Read()}
	if h.Title == "" {
		h.Title = kind + " of " + o.Address
	}
	if h.Commit == "" {
		h.Commit = machine.Commit()
	}
	return h
}

// prepare reads the trace, connects and tries the first call, so that a wrong address or trace is told
// before minutes of failed calls.
func prepare(ctx context.Context, o *options) (*trace.Generator, []pb.RankingServiceClient, func(), error) {
	open, source := trace.Open, o.Trace
	if o.Bundle != "" {
		open, source = trace.OpenBundle, o.Bundle
	}
	recorded, err := open(source)
	if err != nil {
		return nil, nil, nil, err
	}
	generator, err := trace.NewGenerator(recorded, o.Mix)
	if err != nil {
		return nil, nil, nil, err
	}
	clients, disconnect, err := connect(ctx, o)
	if err != nil {
		return nil, nil, nil, err
	}
	probe, cancel := context.WithTimeout(ctx, max(o.Deadline, connectTimeout))
	defer cancel()
	if _, err := drive.Invoke(probe, clients[0], generator.Call(0)); err != nil {
		disconnect()
		return nil, nil, nil, fmt.Errorf("the first call was refused: %w; check that the server runs the release that %s was recorded for", err, recorded.Source)
	}
	return generator, clients, disconnect, nil
}

func connect(ctx context.Context, o *options) ([]pb.RankingServiceClient, func(), error) {
	var clients []pb.RankingServiceClient
	var connections []*grpc.ClientConn
	disconnect := func() {
		for _, c := range connections {
			_ = c.Close() // nothing is lost by a failed close
		}
	}
	addresses := o.addresses()
	for i := range o.Connections {
		c, err := grpc.NewClient(addresses[i%len(addresses)], grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
		if err != nil {
			disconnect()
			return nil, nil, fmt.Errorf("connect to %s: %w", o.Address, err)
		}
		connections = append(connections, c)
		clients = append(clients, pb.NewRankingServiceClient(c))
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for _, c := range connections {
		c.Connect()
		for state := c.GetState(); state != connectivity.Ready; state = c.GetState() {
			if !c.WaitForStateChange(ctx, state) {
				disconnect()
				return nil, nil, fmt.Errorf("no server answers at %s within %s: start shortlistd, or mend -address", o.Address, connectTimeout)
			}
		}
	}
	return clients, disconnect, nil
}

// write prints the table and writes the files.
func write(r result, o *options, stdout io.Writer) error {
	if err := r.WriteTable(stdout); err != nil {
		return err
	}
	files := []struct {
		path  string
		write func(io.Writer) error
	}{{o.JSON, func(w io.Writer) error { return report.WriteJSON(w, r) }}, {o.HTML, r.WriteHTML}}
	for _, file := range files {
		if file.path == "" {
			continue
		}
		var text bytes.Buffer
		if err := file.write(&text); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(file.path), 0o755); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		if err := os.WriteFile(file.path, text.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

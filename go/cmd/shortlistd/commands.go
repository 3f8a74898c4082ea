package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/config"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/telemetry"
	"github.com/shortlist-serving/shortlist/go/internal/vectordb"
)

// verify loads one release as the server would and prints the verdict of its golden requests.
func verify(ctx context.Context, cfg *config.Config, dir string, stdout, stderr io.Writer) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	cfg.Models = filepath.Dir(dir)
	e, err := newEngine(cfg, nil, nil, telemetry.NewLogger(stderr, "warn"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	id := filepath.Base(dir)
	if err := e.repository.Load(ctx, id); err != nil {
		return err
	}
	snapshot, unpin, err := e.repository.AcquireRelease(id)
	if err != nil {
		return err
	}
	defer unpin()
	report, err := e.replayer.Replay(ctx, snapshot)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "release %s: passed: %d golden cases, worst difference %.3g times the tolerance (%s), recall of the index %.4f, %s provider, ONNX Runtime %s\n",
		id, report.Cases, report.WorstRatio, report.WorstAt, report.Recall, e.runtime.Provider(), e.runtime.Version())
	return errors.Join(err, report.Err())
}

// upload writes a release into the vector engine, before a server activates it. It needs no runtime: the vectors are the factory's.
func upload(ctx context.Context, cfg *config.Config, dir string, stdout io.Writer) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	b, err := bundle.Load(dir)
	if err != nil {
		return err
	}
	engine, err := vectordb.Open(cfg.Retrieval.Qdrant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	rows, err := engine.Upload(ctx, b)
	if err != nil {
		return fmt.Errorf("%w (%d of %d rows are there; uploading again goes on)", err, rows, b.Catalog.Len())
	}
	_, err = fmt.Fprintf(stdout, "uploaded %d rows as the collection %s\n", rows, vectordb.Collection(b.Manifest.GetReleaseId()))
	return err
}

// importUsers fills the store that store.path names.
func importUsers(ctx context.Context, cfg *config.Config, file string, stdin io.Reader, stdout io.Writer) (err error) {
	if cfg.Store.Path == "" {
		return errors.New("import: store.path is not set; name the store's file")
	}
	in := stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer func() { _ = opened.Close() }() // it was only read
		in = opened
	}
	store, err := feature.OpenStore(cfg.Store.Path, feature.StoreOptions{MaxEvents: cfg.Store.MaxEvents})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	users, err := store.Import(ctx, in)
	if err != nil {
		return fmt.Errorf("import %s: %w", file, err)
	}
	_, err = fmt.Fprintf(stdout, "imported %d lines into %s\n", users, cfg.Store.Path)
	return err
}

package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
)

// currentFile names the release to serve, on one line.
const currentFile = "current"

// current is the release that the file names; "" when there is no such file.
func (r *Repository) current() (string, error) {
	data, err := os.ReadFile(filepath.Join(r.opts.Dir, currentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", currentFile, err)
	}
	id := strings.TrimSpace(string(data))
	if !bundle.ValidReleaseID(id) {
		return "", fmt.Errorf("%s does not hold a release id: write one, or remove the file to serve the newest release", currentFile)
	}
	return id, nil
}

// releaseIDs are the releases in the folder, newest first. Names that begin with a dot, and whatever else
// does not look like a release, are not looked at.
func (r *Repository) releaseIDs() ([]string, error) {
	entries, err := os.ReadDir(r.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("read the model folder: %w", err)
	}
	var ids []string
	for _, entry := range entries {
		if entry.IsDir() && bundle.ValidReleaseID(entry.Name()) {
			ids = append(ids, entry.Name())
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

func (r *Repository) exists(id string) bool {
	info, err := os.Lstat(filepath.Join(r.opts.Dir, id))
	return err == nil && info.IsDir()
}

// orderFrom is the order to try releases in: first the wanted one, then the others, newest first.
func orderFrom(wanted string, ids []string) []string {
	if wanted == "" {
		return ids
	}
	others := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == wanted })
	return append([]string{wanted}, others...)
}

// List is what the folder holds and what became of each, newest first.
func (r *Repository) List() ([]Release, error) {
	ids, err := r.releaseIDs()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	releases := make([]Release, len(ids))
	for i, id := range ids {
		releases[i] = r.describe(id)
	}
	return releases, nil
}

// Status is the active release and the id that RollBack would activate; zero when there is none.
func (r *Repository) Status() (active Release, previous string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.active.Load(); s != nil {
		active = r.describe(s.ID)
	}
	return active, r.previous
}

// describe is one line of List. The caller holds mu.
func (r *Repository) describe(id string) Release {
	release := Release{ID: id, State: Available}
	if err := r.refused[id]; err != nil {
		release.State, release.Reason = Refused, err.Error()
	}
	if s := r.loaded[id]; s != nil {
		release.State = Loaded
		if s == r.active.Load() {
			release.State = Active
		}
		release.CreatedAt, release.Digest = s.Bundle.Manifest.GetCreatedAt(), s.Bundle.Manifest.GetDigest()
	}
	return release
}

// Watch polls until ctx ends. A changed `current` is activated; without that file, a release newer than
// the active one is. What was refused once is not tried again until it is asked for by name.
func (r *Repository) Watch(ctx context.Context) {
	ticker := time.NewTicker(r.opts.WatchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		id, err := r.wanted()
		if err == nil && id != "" {
			_, err = r.Activate(ctx, id)
		}
		if err != nil && ctx.Err() == nil {
			r.event(Event{Kind: EventWatch, ReleaseID: id, Err: err})
		}
	}
}

// wanted is the release that the folder asks for now; "" when it asks for no change. A `current` that was
// acted on once is left alone, since an operator may have activated another release meanwhile.
func (r *Repository) wanted() (string, error) {
	current, err := r.current()
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	acted := current == r.lastCurrent
	r.lastCurrent = current
	r.mu.Unlock()
	switch {
	case current == "":
		return r.newest()
	case acted:
		return "", nil
	}
	return current, nil
}

// newest is the newest release that was not refused and is newer than the active one and any that was
// active before; "" when there is none.
func (r *Repository) newest() (string, error) {
	ids, err := r.releaseIDs()
	if err != nil {
		return "", err
	}
	active, previous := r.Status()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if id <= max(active.ID, previous) {
			return "", nil
		}
		if r.refused[id] == nil {
			return id, nil
		}
	}
	return "", nil
}

package bundle

import (
	"errors"
	"fmt"
)

// Error says which check a release failed, in which file, and what to do.
type Error struct {
	File    string // relative to the release; "" for the directory itself
	Check   string // short name of the check, as "sha256"
	Problem string
	Fix     string
}

func (e *Error) Error() string {
	file := e.File
	if file == "" {
		file = "release directory"
	}
	return file + ": " + e.Check + ": " + e.Problem + "; " + e.Fix
}

const (
	fixExport  = "export the release again"
	fixCopy    = "copy the release again; releases are never changed after they are published"
	fixFactory = "this is a fault of the exporter: export again with a matching version of the factory"
)

// refuse makes an *Error whose problem is formatted.
func refuse(file, check, fix, format string, args ...any) *Error {
	return &Error{File: file, Check: check, Problem: fmt.Sprintf(format, args...), Fix: fix}
}

// faults collects every fault of one file, so that an operator sees all of them at once.
type faults struct {
	file string
	list []error
}

func (f *faults) add(check, format string, args ...any) {
	f.list = append(f.list, refuse(f.file, check, fixFactory, format, args...))
}

func (f *faults) err() error { return errors.Join(f.list...) }

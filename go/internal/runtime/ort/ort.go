// Package ort runs graphs with ONNX Runtime. It is the only cgo of the project.
package ort

import (
	"errors"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Provider names.
const (
	CPU  = "cpu"
	CUDA = "cuda"
)

// Options of the runtime.
type Options struct {
	// Library is the path of libonnxruntime.so.*; see FindLibrary.
	Library string
	// Provider asked for: CPU (default) or CUDA. CUDA that cannot be had is a *ProviderError, never a silent CPU.
	Provider string
	// CUDALibraries are folders searched for the CUDA libraries, loaded by absolute path before the provider.
	CUDALibraries []string
	// DeviceID of the GPU.
	DeviceID int
}

// ProviderError says that the execution provider asked for could not be had; the caller decides what to do.
type ProviderError struct {
	Asked string
	Cause error
}

func (e *ProviderError) Error() string {
	return "execution provider " + e.Asked + " is not available: " + e.Cause.Error()
}

func (e *ProviderError) Unwrap() error { return e.Cause }

// New starts ONNX Runtime, once per process.
func New(opts Options) (runtime.Runtime, error) { return nil, errors.New("not written yet") }

// FindLibrary is the newest libonnxruntime.so* in the first candidate that has one. A candidate is the
// file itself, a folder with it, or the root of a Python environment.
func FindLibrary(candidates ...string) (string, error) { return "", errors.New("not written yet") }

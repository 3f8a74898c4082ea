package ort

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// libraryFailure is how the CUDA provider begins every message about a failed call of a CUDA library:
// "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=...".
var libraryFailure = regexp.MustCompile(`\b(CUDA|CUBLAS|CUDNN|CURAND|CUFFT|CUSPARSE) failure (\d+)`)

var (
	// outOfMemory are the codes of a failed allocation: cudaErrorMemoryAllocation, CUBLAS_STATUS_ALLOC_FAILED.
	outOfMemory = map[string][]int{"CUDA": {2}, "CUBLAS": {3}}
	// ordinary are refusals of one call's arguments (invalid value, invalid configuration, not supported), which
	// leave the device as it was: cudaError 1, 9, 801 and CUBLAS_STATUS_INVALID_VALUE, _NOT_SUPPORTED.
	ordinary = map[string][]int{"CUDA": {1, 9, 801}, "CUBLAS": {7, 15}}
	// allocation are texts of failed allocations that carry no code: of the arena, of cuDNN, of the driver.
	allocation = []string{"Failed to allocate memory for requested buffer", "ALLOCATION_FAILED", "ALLOC_FAILED", "out of memory"}
)

// deviceError makes an error of a run on a GPU a *runtime.DeviceError where the device is at fault. A failure
// with an unknown code counts as a lost device: to serve from a broken one is worse than to stop using it.
func deviceError(err error) error {
	text := err.Error()
	fault := runtime.DeviceFault(0)
	if match := libraryFailure.FindStringSubmatch(text); match != nil {
		code, _ := strconv.Atoi(match[2]) // the expression leaves digits only
		switch {
		case slices.Contains(outOfMemory[match[1]], code):
			fault = runtime.DeviceMemory
		case !slices.Contains(ordinary[match[1]], code):
			fault = runtime.DeviceLost
		}
	}
	if fault != runtime.DeviceMemory && slices.ContainsFunc(allocation, func(part string) bool { return strings.Contains(text, part) }) {
		fault = runtime.DeviceMemory
	}
	if fault == 0 {
		return err
	}
	return &runtime.DeviceError{Fault: fault, Cause: err}
}

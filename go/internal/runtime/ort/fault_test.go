package ort

import (
	"errors"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// The texts follow the format that the CUDA provider's library holds:
// "%s failure %d: %s ; GPU=%d ; hostname=%s ; file=%s ; line=%d ; expr=%s; %s".
func TestDeviceErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]runtime.DeviceFault{
		"CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=x ; file=y ; line=1 ; expr=z; ": runtime.DeviceLost,
		"Non-zero status code: CUDA failure 719: unspecified launch failure ; GPU=1":                                   runtime.DeviceLost,
		"CUDA failure 214: uncorrectable ECC error encountered ; GPU=0":                                                runtime.DeviceLost,
		"CUDA failure 123456: a code of a later version ; GPU=0":                                                       runtime.DeviceLost,
		"CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0":                                                    runtime.DeviceLost,
		"CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0":                                                    runtime.DeviceLost,
		"CUDA failure 2: out of memory ; GPU=0":                                                                        runtime.DeviceMemory,
		"CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0":                                                         runtime.DeviceMemory,
		"CUDNN failure 4003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0":                             runtime.DeviceMemory,
		"bfc_arena.cc: Failed to allocate memory for requested buffer of size 4194304":                                 runtime.DeviceMemory,
		"CUDA failure 9: invalid configuration argument ; GPU=0":                                                       0,
		"indices element out of data bounds, idx=99 must be within the inclusive range [-5,4]":                         0,
		"the size of the 700 failure domain":                                                                           0,
	} {
		var device *runtime.DeviceError
		cause := errors.New(text)
		got := deviceError(cause)
		switch {
		case want == 0 && got != cause:
			t.Errorf("%s: became %v", text, got)
		case want != 0 && (!errors.As(got, &device) || device.Fault != want || !errors.Is(got, cause)):
			t.Errorf("%s: %v, want a device that is %s", text, got, want)
		}
	}
}

package ort

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// NULL, or why it failed, to be freed. One crossing: dlerror belongs to the thread.
static char *load_global(const char *path) {
	if (dlopen(path, RTLD_NOW | RTLD_GLOBAL)) return NULL;
	const char *why = dlerror();
	return strdup(why ? why : "unknown reason");
}
*/
import "C"

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// preloadCUDA loads the CUDA libraries by absolute path. The provider library has no run path and asks for
// them by name only; the loader then takes the loaded ones, and LD_LIBRARY_PATH need not be set. What is not
// found here the loader may still know, so the error only explains why the provider could not be had.
func preloadCUDA(opts Options) error {
	dirs := opts.CUDALibraries
	if dirs == nil {
		dirs = append(CUDALibraryDirs(opts.Library), systemCUDADirs...)
	}
	paths, missing := findCUDALibraries(dirs)
	var errs []error
	for _, path := range paths {
		if err := loadGlobal(path); err != nil {
			errs = append(errs, err)
		}
	}
	for _, name := range missing {
		errs = append(errs, fmt.Errorf("%s is not in %s", name, strings.Join(dirs, ", ")))
	}
	return errors.Join(errs...)
}

func loadGlobal(path string) error {
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))
	why := C.load_global(cPath)
	if why == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(why))
	return fmt.Errorf("load CUDA library: %s", C.GoString(why))
}

// appendCUDA puts the CUDA provider before the CPU's. It allocates what is asked for and no powers of two,
// since shapes vary, and computes in fp32: TF32, its default, keeps 10 bits of a product's mantissa, which is
// far outside the tolerance of a release.
func appendCUDA(o *ort.SessionOptions, device int) error {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	return errors.Join(
		cuda.Update(map[string]string{
			"device_id":             strconv.Itoa(device),
			"arena_extend_strategy": "kSameAsRequested",
			"use_tf32":              "0",
		}),
		o.AppendExecutionProviderCUDA(cuda),
		cuda.Destroy(),
	)
}

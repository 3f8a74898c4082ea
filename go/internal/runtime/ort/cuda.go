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
// them by name only; the loader then takes the loaded ones, and LD_LIBRARY_PATH need not be set.
func preloadCUDA(opts Options) error {
	dirs := opts.CUDALibraries
	if dirs == nil {
		dirs = CUDALibraryDirs(opts.Library)
	}
	paths, missing := findCUDALibraries(dirs)
	var errs []error
	for _, path := range paths {
		if err := loadGlobal(path); err != nil {
			errs = append(errs, err)
		}
	}
	// Libraries that were not found may still be known to the system's loader: try their bare names.
	for _, name := range missing {
		if err := loadGlobal(name); err != nil {
			errs = append(errs, fmt.Errorf("%w (looked in %s)", err, strings.Join(dirs, ", ")))
		}
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
// since shapes vary.
func appendCUDA(o *ort.SessionOptions, device int) error {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	return errors.Join(
		cuda.Update(map[string]string{
			"device_id":             strconv.Itoa(device),
			"arena_extend_strategy": "kSameAsRequested",
		}),
		o.AppendExecutionProviderCUDA(cuda),
		cuda.Destroy(),
	)
}

package ort

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// FindLibrary is the newest libonnxruntime.so* in the first candidate that has one. A candidate is the
// file itself, a folder with it, or the root of a Python environment. Empty candidates are skipped.
func FindLibrary(candidates ...string) (string, error) {
	var tried []string
	for _, candidate := range candidates {
		if candidate == "" {
			continue
		}
		tried = append(tried, candidate)
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() {
			return candidate, nil
		}
		for _, pattern := range []string{"", "lib/python*/site-packages/onnxruntime/capi", "onnxruntime/capi"} {
			if found := newestLibrary(filepath.Join(candidate, filepath.FromSlash(pattern))); found != "" {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("libonnxruntime.so was not found in %s: install the Python package onnxruntime-gpu (it serves CPU too), "+
		"or name the file", strings.Join(tried, ", "))
}

// newestLibrary is the file with the highest version in the folders that match a pattern; "" for none.
func newestLibrary(folder string) string {
	found, err := filepath.Glob(filepath.Join(folder, "libonnxruntime.so*"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return slices.MaxFunc(found, func(a, b string) int {
		return slices.Compare(versionOf(a), versionOf(b))
	})
}

// versionOf reads the numbers after ".so" of a file name.
func versionOf(path string) []int {
	_, version, _ := strings.Cut(filepath.Base(path), ".so")
	var numbers []int
	for part := range strings.SplitSeq(strings.TrimPrefix(version, "."), ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// CUDALibraryDirs are the folders of the NVIDIA packages in the Python environment that library lies in.
func CUDALibraryDirs(library string) []string {
	packages := filepath.Dir(filepath.Dir(filepath.Dir(library))) // of site-packages/onnxruntime/capi/lib...
	found, err := filepath.Glob(filepath.Join(packages, "nvidia", "*", "lib"))
	if err != nil {
		return nil
	}
	return found
}

// systemCUDADirs are where packages and images install CUDA; the Python environment goes before them.
var systemCUDADirs = []string{"/usr/local/cuda/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"}

// cudaLibraries in the order in which they need each other. The CUDA provider does not load without the
// required ones; the others serve single operators.
var cudaLibraries = []struct {
	name     string
	required bool
}{
	{"libcudart.so", true}, {"libnvrtc.so", false}, {"libcublasLt.so", true}, {"libcublas.so", true},
	{"libcurand.so", true}, {"libcufft.so", false}, {"libcudnn.so", false},
}

// findCUDALibraries are the paths to load, in order: of each library the newest in the first folder that has
// it. Those not found are left to the system's loader.
func findCUDALibraries(dirs []string) (paths []string, missing []string) {
	for _, library := range cudaLibraries {
		var found []string
		for _, dir := range dirs {
			matches, err := filepath.Glob(filepath.Join(dir, library.name+"*"))
			if err == nil && len(matches) > 0 {
				found = matches
				break
			}
		}
		if len(found) == 0 {
			if library.required {
				missing = append(missing, library.name)
			}
			continue
		}
		paths = append(paths, slices.MaxFunc(found, func(a, b string) int {
			return cmp.Or(slices.Compare(versionOf(a), versionOf(b)), strings.Compare(a, b))
		}))
	}
	return paths, missing
}

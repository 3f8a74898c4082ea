package ort

/*
#ifdef __linux__
#include <malloc.h>
#endif

static void keep_memory(int arenas, int mapped, int kept) {
#ifdef __GLIBC__ // what ONNX Runtime's own builds need; other allocators keep their ways
	mallopt(M_ARENA_MAX, arenas);
	mallopt(M_MMAP_THRESHOLD, mapped);
	mallopt(M_TRIM_THRESHOLD, kept);
#endif
}
*/
import "C"

import goruntime "runtime"

const (
	mapThreshold  = 32 << 20 // bytes of one tensor from which it gets pages of its own; glibc takes no more
	trimThreshold = 64 << 20 // free bytes at the end of an arena that stay with the process
)

// keepMemory lets glibc keep the memory of tensors between runs. Sessions have no arena of ONNX Runtime, so
// each run allocates its intermediate tensors, of megabytes at 1,000 candidates. By default glibc gives such
// blocks back to the kernel at once, and the next run faults the same pages in again: thousands of them, a
// quarter of a run's CPU time. An arena a core is enough for one run a core, and bounds what stays.
func keepMemory() {
	C.keep_memory(C.int(goruntime.GOMAXPROCS(0)), mapThreshold, trimThreshold)
}

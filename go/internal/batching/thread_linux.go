package batching

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// giveWay ties the goroutine to a thread of lower priority, for good: a thread may not raise its priority again,
// and it ends with the goroutine. Threads that talk to callers then interrupt a run of a graph, wherever it runs.
// A machine that forbids it leaves the thread as it is.
func giveWay(nice int) {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice)
}

//go:build !race

// The race detector keeps memory of its own for what a program touches: growth says nothing under it.
package main

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/loadtest"
	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
)

// The memory scenario finds a server that keeps 64 KiB of every call, and passes the same server without the
// leak. Generator and server are one process here, so its heap is collected often and the limit is larger than a
// real server's.
func TestASoakFindsALeak(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	for _, leaks := range []bool{false, true} {
		debug.FreeOSMemory()
		var kept [][]byte // guarded by mu
		var mu sync.Mutex
		address := loadtest.Start(t, func(ctx context.Context, method string, r *pb.RecommendRequest) (*pb.RecommendResponse, error) {
			if leaks {
				mu.Lock()
				defer mu.Unlock()
				kept = append(kept, bytes.Repeat([]byte{1}, 64<<10))
			}
			return good(ctx, method, r)
		})
		code, stdout, stderr := call(t, "-soak", "-scenario", "../../../bench/scenarios/memory.yaml", "-address", address, "-growth-limit", "80",
			"-trace", file(t, "r.jsonl", requests), "-candidates", "1..4", "-history", "0..9", "-pid", strconv.Itoa(os.Getpid()), "-requests", "4000")
		if want := map[bool]int{false: exitOK, true: exitFailed}[leaks]; code != want {
			t.Errorf("leaks %v: exit %d, want %d\n%s%s", leaks, code, want, stdout, stderr)
		}
		runtime.KeepAlive(kept)
	}
}

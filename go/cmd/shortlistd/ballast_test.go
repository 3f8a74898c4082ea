package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

func TestGarbageComesTogetherBeforeItIsCollected(t *testing.T) {
	runtime.GC()
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(goal)
	if got := goal[0].Value.Uint64(); got < 2*uint64(len(ballast)) {
		t.Errorf("the heap is collected at %d bytes, before there are %d of garbage", got, len(ballast))
	}
}

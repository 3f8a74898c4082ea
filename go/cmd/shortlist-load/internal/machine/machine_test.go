package machine

import (
	"os"
	"runtime"
	"testing"
)

func TestFactsAreReadOnLinux(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("facts come from /proc, which only Linux has")
	}
	f := Read()
	if f.Cores < f.UsedCores && f.Cores < runtime.NumCPU() || f.MemoryGB <= 0 || f.Kernel == "" || f.LoadBefore == "" {
		t.Errorf("facts %+v", f)
	}
}

func TestMemoryOfAProcess(t *testing.T) {
	before, err := ReadProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<20)
	for i := range block {
		block[i] = 1 // resident only once written
	}
	after, err := ReadProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// The race detector keeps shadow memory for what is written, so the upper bound is loose.
	if grown := after.RSSMB - before.RSSMB; grown < 55 || grown > 640 || before.Name == "" {
		t.Errorf("64 MB were written, and %q grew %.1f MB", before.Name, grown)
	}
	runtime.KeepAlive(block)
	if _, err := ReadProcess(1 << 30); err == nil {
		t.Error("a process that does not exist has memory")
	}
}

// Package machine says where figures were measured; a figure without its machine is worth nothing.
package machine

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Facts of the machine that the generator runs on. Empty fields could not be read.
type Facts struct {
	CPU        string   `json:"cpu"`
	Cores      int      `json:"cores"`
	UsedCores  int      `json:"generator_cores"` // GOMAXPROCS
	MemoryGB   float64  `json:"memory_gb"`
	GPUs       []string `json:"gpus,omitempty"`
	Kernel     string   `json:"kernel"`
	LoadBefore string   `json:"load_average_before"` // other work on the machine spoils figures
	Go         string   `json:"go"`
	Platform   string   `json:"platform"`
}

// Read the facts.
func Read() Facts {
	facts := Facts{
		CPU: field("/proc/cpuinfo", "model name"), Cores: cores(), UsedCores: runtime.GOMAXPROCS(0),
		Kernel: firstLine("/proc/sys/kernel/osrelease"), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if kb, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		facts.MemoryGB = float64(int(kb/1024/1024*10)) / 10
	}
	if load := strings.Fields(firstLine("/proc/loadavg")); len(load) >= 3 {
		facts.LoadBefore = strings.Join(load[:3], " ")
	}
	gpus, _ := filepath.Glob("/proc/driver/nvidia/gpus/*/information") // a constant pattern cannot be malformed
	for _, path := range gpus {
		facts.GPUs = append(facts.GPUs, field(path, "Model"))
	}
	return facts
}

// cores counts those of the machine; runtime.NumCPU counts those that this process may use.
func cores() int {
	text, err := os.ReadFile("/proc/cpuinfo")
	if n := strings.Count("\n"+string(text), "\nprocessor"); err == nil && n > 0 {
		return n
	}
	return runtime.NumCPU()
}

// Commit is the revision that the generator was built from, with "+changes" where the tree was not clean.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	return revision + changed
}

// Process is what the kernel says of a running process.
type Process struct {
	Name  string
	RSSMB float64
}

// ReadProcess reads the name and the resident memory of a process.
func ReadProcess(pid int) (Process, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	rss := field(path, "VmRSS")
	kb, err := strconv.ParseFloat(strings.TrimSuffix(rss, " kB"), 64)
	if err != nil {
		return Process{}, fmt.Errorf("read VmRSS in %s: got %q; is process %d still running?", path, rss, pid)
	}
	return Process{Name: field(path, "Name"), RSSMB: kb / 1024}, nil
}

// field is the value of the first "name : value" line of a file, or "".
func field(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

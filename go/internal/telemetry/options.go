// Package telemetry makes what the server tells its operators: metrics, logs, health pages and the log of
// what was served. Every label comes from a closed set, and nothing here ever blocks a request.
package telemetry

import (
	"fmt"
	"slices"
)

// Options of logs and of the served-request log.
type Options struct {
	// LogLevel is debug, info, warn or error. The default is info.
	LogLevel string
	// ServedLog is the file to which answered requests are appended as JSON lines. The default, empty, keeps none.
	ServedLog string
	// ServedLogSample is the share of requests that are logged, in (0, 1]. The default is 1.
	ServedLogSample float64
	// ServedLogQueue is how many lines may wait for the disk; more are counted and dropped. The default is 1024.
	ServedLogQueue int
}

// EnsureDefaults fills what is not set.
func (o *Options) EnsureDefaults() {
	if o.LogLevel == "" {
		o.LogLevel = "info"
	}
	if o.ServedLogSample == 0 {
		o.ServedLogSample = 1
	}
	if o.ServedLogQueue == 0 {
		o.ServedLogQueue = 1024
	}
}

// Validate lists every fault as "field: problem".
func (o *Options) Validate() []error {
	var faults []error
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, o.LogLevel) {
		faults = append(faults, fmt.Errorf("log_level: %q is none of debug, info, warn, error", o.LogLevel))
	}
	if !(o.ServedLogSample > 0 && o.ServedLogSample <= 1) {
		faults = append(faults, fmt.Errorf("served_log_sample: %v is not in (0, 1]", o.ServedLogSample))
	}
	if o.ServedLogQueue < 1 {
		faults = append(faults, fmt.Errorf("served_log_queue: %d is not positive", o.ServedLogQueue))
	}
	return faults
}

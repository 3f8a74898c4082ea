// Package rpc is the wire: gRPC services, and the only conversion between messages and package rank.
package rpc

import (
	"errors"
	"fmt"
	"time"
)

// Options of the servers and the limits of one request.
type Options struct {
	// MaxMessageBytes bounds a received message after decompression. The default is 4 MiB.
	MaxMessageBytes int
	// MaxStreams bounds the calls in flight on one connection. The default is 100.
	MaxStreams int
	// MaxIdle closes connections without calls. The default is 5m.
	MaxIdle time.Duration
	// MaxAge makes clients reconnect, so that load spreads after a change of replicas. The default is 30m.
	MaxAge time.Duration
	// MinPing is the shortest pause between two keep-alive pings of a client. The default is 30s.
	MinPing time.Duration

	// MaxCandidates bounds the candidates of a request; a release may ask for less. The default is 10000.
	MaxCandidates int
	// MaxHistory bounds the events of an inline history. The default is 10000.
	MaxHistory int
	// MaxFeatures bounds the features of a user or a context. The default is 256.
	MaxFeatures int
	// MaxTextBytes bounds one text value. The default is 8192.
	MaxTextBytes int
	// MaxTexts bounds the texts of one value. The default is 256.
	MaxTexts int
	// MaxIDBytes bounds an item id, a user id and a column name. The default is 256.
	MaxIDBytes int
	// MaxFilters bounds the column filters. The default is 16.
	MaxFilters int
	// MaxFilterValues bounds the values of one condition of a filter. The default is 1000.
	MaxFilterValues int
	// MaxExplained bounds the items that a debug block explains or forces. The default is 100.
	MaxExplained int
	// MaxBatch bounds the requests of a BatchRecommend. The default is 64.
	MaxBatch int

	// Debug says who may send a debug block. The default is nobody.
	Debug DebugOptions `config:"-"` // a section of its own
}

// DebugOptions say who may send a debug block.
type DebugOptions struct {
	// AllowAll lets every caller; for development only.
	AllowAll bool
	// Token lets callers that send it as metadata "authorization: Bearer <token>".
	Token string `config:"secret"`
}

// EnsureDefaults fills what is not set.
func (o *Options) EnsureDefaults() {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&o.MaxMessageBytes, 4 << 20}, {&o.MaxStreams, 100}, {&o.MaxCandidates, 10000}, {&o.MaxHistory, 10000}, {&o.MaxFeatures, 256},
		{&o.MaxTextBytes, 8192}, {&o.MaxTexts, 256}, {&o.MaxIDBytes, 256}, {&o.MaxFilters, 16}, {&o.MaxFilterValues, 1000},
		{&o.MaxExplained, 100}, {&o.MaxBatch, 64},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.MaxIdle, 5 * time.Minute}, {&o.MaxAge, 30 * time.Minute}, {&o.MinPing, 30 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}

// Validate lists every fault as "field: problem".
func (o *Options) Validate() []error {
	var faults []error
	for _, f := range []struct {
		name  string
		value int
	}{
		{"max_message_bytes", o.MaxMessageBytes}, {"max_streams", o.MaxStreams}, {"max_candidates", o.MaxCandidates},
		{"max_history", o.MaxHistory}, {"max_features", o.MaxFeatures}, {"max_text_bytes", o.MaxTextBytes}, {"max_texts", o.MaxTexts},
		{"max_id_bytes", o.MaxIDBytes}, {"max_filters", o.MaxFilters}, {"max_filter_values", o.MaxFilterValues},
		{"max_explained", o.MaxExplained}, {"max_batch", o.MaxBatch},
	} {
		if f.value < 1 || f.value > 1<<30 {
			faults = append(faults, fmt.Errorf("%s: %d is not in 1..2^30", f.name, f.value))
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"max_idle", o.MaxIdle}, {"max_age", o.MaxAge}, {"min_ping", o.MinPing}} {
		if f.value < time.Second {
			faults = append(faults, fmt.Errorf("%s: %s is under 1s", f.name, f.value))
		}
	}
	return faults
}

// Validate lists every fault as "field: problem".
func (o *DebugOptions) Validate() []error {
	if o.AllowAll && o.Token != "" {
		return []error{errors.New("allow_all: makes debug.token pointless")}
	}
	return nil
}

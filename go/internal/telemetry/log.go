package telemetry

import (
	"io"
	"log/slog"
)

// NewLogger writes one JSON object a line. JSON escaping keeps a client's text inside its own field, so no
// request can forge a line.
func NewLogger(w io.Writer, level string) *slog.Logger {
	var threshold slog.Level
	if err := threshold.UnmarshalText([]byte(level)); err != nil {
		threshold = slog.LevelInfo // Options.Validate refuses other words
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: threshold}))
}

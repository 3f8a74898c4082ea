// Command shortlist-load measures a ranking service from outside: open-loop load at stated rates, or a
// memory soak. It knows the wire contract and nothing else of the server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // no measurement, memory grew too much, or an overloaded server broke a promise
	exitUsage  = 2
	exitVoid   = 3 // measured, but the figures are the generator's
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, command []string, stdout, stderr io.Writer) int {
	options, err := parse(command[1:])
	switch {
	case errors.Is(err, errHelp):
		_, _ = io.WriteString(stdout, help())
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintln(stderr, err)
		return exitUsage
	}
	measure := load
	switch {
	case options.Soak:
		measure = soakRun
	case options.Small > 0:
		measure = smallRun
	}
	result, err := measure(ctx, command, options, stderr)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "shortlist-load: %v\n", err)
		return exitFailed
	}
	if err := write(result, options, stdout); err != nil {
		_, _ = fmt.Fprintf(stderr, "shortlist-load: %v\n", err)
		return exitFailed
	}
	return result.exit()
}

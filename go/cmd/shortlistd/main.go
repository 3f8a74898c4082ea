// Command shortlistd serves a release over gRPC.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/shortlist-serving/shortlist/go/internal/config"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = "dev"

const usage = `usage: shortlistd [flags] [command]

commands
  serve                 serve the releases of the folder models (the default)
  verify <release dir>  load and self-test one release, print the verdict; exit code 1 when it fails
  upload <release dir>  write the vectors of a release into the vector engine of retrieval.qdrant
  import <file>         append JSON lines of AppendRequest to the user store; - reads standard input
  version               print the version

flags
  -config=FILE          YAML file with settings (also SHORTLIST_CONFIG)
  -print-config         print the effective settings and exit
  -check-config         exit with code 0 when the settings are valid, else list every fault
  -KEY=VALUE            any setting, by the key that -print-config shows; also SHORTLIST_<KEY>, dots as underscores
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "shortlistd:", err)
		os.Exit(1)
	}
}

// run is main with its surroundings as arguments.
func run(ctx context.Context, arguments, environment []string, stdin io.Reader, stdout, stderr io.Writer) error {
	own, arguments := ownFlags(arguments, environment)
	if own.help {
		_, err := io.WriteString(stdout, usage)
		return err
	}
	cfg, words, unknown, err := config.Load(config.Source{File: own.file, Env: environment, Flags: arguments})
	if err != nil {
		return err
	}
	for _, variable := range unknown {
		_, _ = fmt.Fprintf(stderr, "shortlistd: the variable %s sets nothing; -print-config lists the keys\n", variable)
	}
	switch {
	case own.print:
		return cfg.Print(stdout)
	case own.check:
		_, err := fmt.Fprintln(stdout, "the configuration is valid")
		return err
	}
	command := "serve"
	if len(words) > 0 {
		command, words = words[0], words[1:]
	}
	switch {
	case command == "serve" && len(words) == 0:
		return serve(ctx, cfg, stderr)
	case command == "verify" && len(words) == 1:
		return verify(ctx, cfg, words[0], stdout, stderr)
	case command == "upload" && len(words) == 1:
		return upload(ctx, cfg, words[0], stdout)
	case command == "import" && len(words) == 1:
		return importUsers(ctx, cfg, words[0], stdin, stdout)
	case command == "version" && len(words) == 0:
		_, err := fmt.Fprintln(stdout, "shortlistd", buildVersion())
		return err
	}
	return fmt.Errorf("%q is no command, or has the wrong number of arguments; -help lists the commands", command)
}

// own are the flags that are no settings.
type own struct {
	file               string
	print, check, help bool
}

func ownFlags(arguments, environment []string) (own, []string) {
	var o own
	for _, entry := range environment {
		if file, ok := strings.CutPrefix(entry, config.EnvPrefix+"CONFIG="); ok {
			o.file = file
		}
	}
	var rest []string
	for i := range arguments {
		word := strings.TrimPrefix(strings.TrimPrefix(arguments[i], "-"), "-")
		file, isFile := strings.CutPrefix(word, "config=")
		switch {
		case word == arguments[i]: // a command: what follows is its own
			return o, append(rest, arguments[i:]...)
		case word == "print-config":
			o.print = true
		case word == "check-config":
			o.check = true
		case word == "help" || word == "h":
			o.help = true
		case isFile:
			o.file = file
		default:
			rest = append(rest, arguments[i])
		}
	}
	return o, rest
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "dev" {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return version + " " + setting.Value
			}
		}
	}
	return version
}

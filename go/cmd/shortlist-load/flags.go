package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/arrival"
	"github.com/shortlist-serving/shortlist/go/cmd/shortlist-load/internal/trace"
)

var errHelp = errors.New("help was asked for")

// usageError lists everything that is wrong with a command line.
type usageError []string

func (e usageError) Error() string {
	return fmt.Sprintf("shortlist-load: %d fault(s) in the command line\n  %s\nRun shortlist-load -help for flags and examples.", len(e), strings.Join(e, "\n  "))
}

// parser collects faults instead of stopping at the first.
type parser struct {
	set    *flag.FlagSet
	faults usageError
	given  map[string]bool
}

// parse reads the command line over the scenario file over the defaults.
func parse(args []string) (*options, error) {
	o := defaults()
	p := &parser{set: flag.NewFlagSet("shortlist-load", flag.ContinueOnError), given: map[string]bool{}}
	p.set.SetOutput(io.Discard)
	p.define(o)
	if err := p.words(args); err != nil {
		return nil, err
	}
	p.set.Visit(func(f *flag.Flag) { p.given[f.Name] = true })
	if o.Scenario != "" {
		p.scenario(o.Scenario)
	}
	p.faults = append(p.faults, o.faults()...)
	if len(p.faults) > 0 {
		return nil, p.faults
	}
	o.settings = p.settings(o.Soak)
	return o, nil
}

// Flags that only one kind of run reads; a report of the other kind does not list them.
var (
	openLoopOnly = []string{"arrivals", "rate", "duration", "warmup", "max-in-flight", "overload", "small"}
	soakOnly     = []string{"requests", "callers", "growth-limit", "soak", "pid"}
)

// settings are the flags in effect, as text. Files and names of the report itself are left out.
func (p *parser) settings(soak bool) map[string]string {
	left := append([]string{"json", "html", "title", "commit", "seed"}, soakOnly...)
	if soak {
		left = append(left[:5], openLoopOnly...)
	}
	settings := map[string]string{}
	p.set.VisitAll(func(f *flag.Flag) {
		value := f.Value.String()
		if unset := value == "" || value == "0" || value == "false"; !slices.Contains(left, f.Name) && (!unset || p.given[f.Name]) {
			settings[f.Name] = value
		}
	})
	return settings
}

// words goes on after a fault: the flag package has consumed the word at fault by then.
func (p *parser) words(args []string) error {
	for {
		err := p.set.Parse(args)
		args = p.set.Args()
		switch {
		case errors.Is(err, flag.ErrHelp):
			return errHelp
		case err != nil:
			p.faults = append(p.faults, err.Error())
		case len(args) > 0:
			p.faults = append(p.faults, fmt.Sprintf("%q is not a flag; flags begin with -", args[0]))
			args = args[1:]
		}
		if len(args) == 0 {
			return nil
		}
	}
}

// scenario sets the flags that a YAML file names and the command line does not.
func (p *parser) scenario(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		p.faults = append(p.faults, fmt.Sprintf("-scenario: %v", err))
		return
	}
	var keys map[string]any
	if err := yaml.Unmarshal(text, &keys); err != nil {
		p.faults = append(p.faults, fmt.Sprintf("-scenario %s: not a mapping of flag names to values: %v", path, err))
		return
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		switch {
		case p.set.Lookup(name) == nil || name == "scenario":
			p.faults = append(p.faults, fmt.Sprintf("-scenario %s: %q is not the name of a flag", path, name))
		case !p.given[name]:
			if err := p.set.Set(name, flagText(keys[name])); err != nil {
				p.faults = append(p.faults, fmt.Sprintf("-scenario %s: %s: %v", path, name, err))
			}
			p.given[name] = true
		}
	}
}

// flagText writes a YAML value as the command line would: lists by commas, mappings as key=value.
func flagText(value any) string {
	var parts []string
	switch v := value.(type) {
	case []any:
		for _, x := range v {
			parts = append(parts, fmt.Sprint(x))
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, fmt.Sprintf("%s=%v", name, v[name]))
		}
	default:
		return fmt.Sprint(value)
	}
	return strings.Join(parts, ",")
}

// variable is a flag whose text is parsed by a function; a bad text is a fault, and parsing goes on.
type variable struct {
	text  string
	parse func(text string) error
}

func (v *variable) String() string { return v.text }

func (v *variable) Set(text string) error {
	v.text = text
	return v.parse(text)
}

func (p *parser) define(o *options) {
	s := p.set
	value := func(name, text string, parse func(string) error) { s.Var(&variable{text, parse}, name, "") }
	s.StringVar(&o.Scenario, "scenario", "", "")
	s.StringVar(&o.Address, "address", o.Address, "")
	s.BoolVar(&o.AllowRemote, "allow-remote", false, "")
	s.StringVar(&o.Bundle, "bundle", "", "")
	s.StringVar(&o.Trace, "trace", "", "")
	value("arrivals", string(o.Arrivals), func(text string) (err error) { o.Arrivals, err = arrival.Parse(text); return })
	value("rate", "50", func(text string) (err error) { o.Rates, err = parseRates(text); return })
	s.DurationVar(&o.Duration, "duration", o.Duration, "")
	s.DurationVar(&o.WarmUp, "warmup", o.WarmUp, "")
	value("calls", "", func(text string) (err error) { o.Mix.Weights, err = parseWeights(text); return })
	value("candidates", "", func(text string) (err error) { o.Mix.Candidates, err = trace.ParseRange(text); return })
	value("history", "", func(text string) (err error) { o.Mix.History, err = trace.ParseRange(text); return })
	s.BoolVar(&o.Mix.Ordered, "ordered", false, "")
	s.IntVar(&o.Mix.Sessions, "sessions", 0, "")
	s.IntVar(&o.Mix.Limit, "limit", 0, "")
	s.DurationVar(&o.Deadline, "deadline", o.Deadline, "")
	s.IntVar(&o.Connections, "connections", o.Connections, "")
	s.IntVar(&o.MaxInFlight, "max-in-flight", o.MaxInFlight, "")
	s.Uint64Var(&o.Mix.Seed, "seed", o.Mix.Seed, "")
	s.StringVar(&o.JSON, "json", "", "")
	s.StringVar(&o.HTML, "html", "", "")
	s.StringVar(&o.Title, "title", "", "")
	s.StringVar(&o.Commit, "commit", "", "")
	s.BoolVar(&o.Overload, "overload", false, "")
	s.IntVar(&o.Small, "small", 0, "")
	s.BoolVar(&o.Soak, "soak", false, "")
	s.Int64Var(&o.Requests, "requests", o.Requests, "")
	s.IntVar(&o.Callers, "callers", o.Callers, "")
	s.IntVar(&o.PID, "pid", 0, "")
	s.Float64Var(&o.GrowthMB, "growth-limit", o.GrowthMB, "")
}

func parseRates(text string) ([]float64, error) {
	var rates []float64
	for _, part := range strings.Split(text, ",") {
		rate, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || rate <= 0 || rate > 1e6 || math.IsNaN(rate) {
			return nil, fmt.Errorf("%q is not a rate; write calls a second between 0 and 1000000, and a step for each with commas: 50,100,200", part)
		}
		rates = append(rates, rate)
	}
	return rates, nil
}

func parseWeights(text string) (map[trace.Kind]float64, error) {
	weights := map[trace.Kind]float64{}
	for _, part := range strings.Split(text, ",") {
		name, share, weighted := strings.Cut(strings.TrimSpace(part), "=")
		if !weighted {
			share = "1"
		}
		weight, err := strconv.ParseFloat(share, 64)
		if !slices.Contains(trace.Kinds, trace.Kind(name)) || err != nil || weight <= 0 || weight > 1e9 || math.IsNaN(weight) {
			return nil, fmt.Errorf("%q is not a kind of call with a weight; write rank=2,recommend=1,retrieve=1, or one kind alone", part)
		}
		if weights[trace.Kind(name)] > 0 {
			return nil, fmt.Errorf("%s has two weights", name)
		}
		weights[trace.Kind(name)] = weight
	}
	return weights, nil
}

// atLeast adds a fault when a count or a duration is too small.
func atLeast[T int | int64 | float64 | time.Duration](faults usageError, name string, value, least T) usageError {
	if value < least {
		return append(faults, fmt.Sprintf("-%s is %v; it must be at least %v", name, value, least))
	}
	return faults
}

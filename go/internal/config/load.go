package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// EnvPrefix begins every variable that sets a key.
const EnvPrefix = "SHORTLIST_"

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Key     string
	Problem string
	Fix     string
}

// Faults is every fault of a configuration, in the order in which they were met.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, 0, len(f)+1)
	lines = append(lines, fmt.Sprintf("configuration has %d fault(s)", len(f)))
	for _, fault := range f {
		lines = append(lines, fmt.Sprintf("  %s: %s; fix: %s", fault.Key, fault.Problem, fault.Fix))
	}
	return strings.Join(lines, "\n")
}

// Source is where settings come from, weakest first: File, Env, Flags.
type Source struct {
	File  string   // path of a YAML file; empty for none
	Env   []string // as os.Environ
	Flags []string // -key=value, or -key for true; the first other word and what comes after it are returned
}

// Load reads the configuration and validates it. It returns the words after the flags, and the variables
// that begin with EnvPrefix but set nothing (orchestrators inject such, so they only deserve a warning).
// The error is Faults where the configuration is at fault.
func Load(source Source) (c *Config, rest, unknownEnv []string, err error) {
	c = &Config{}
	c.EnsureDefaults()
	keys := keysOf("", reflect.ValueOf(c).Elem())
	l := &loader{byName: make(map[string]key, len(keys))}
	for _, k := range keys {
		l.byName[k.name] = k
		l.names = append(l.names, k.name)
	}
	if source.File != "" {
		text, err := os.ReadFile(source.File)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("read configuration: %w", err)
		}
		l.yaml(text)
	}
	unknownEnv = l.env(source.Env)
	rest = l.flags(source.Flags)
	for _, fault := range c.Validate() {
		if !l.faulty(fault.Key) {
			l.faults = append(l.faults, fault)
		}
	}
	if len(l.faults) > 0 {
		return nil, nil, unknownEnv, l.faults
	}
	return c, rest, unknownEnv, nil
}

type loader struct {
	byName map[string]key
	names  []string
	faults Faults
}

func (l *loader) fault(key, problem, fix string) {
	l.faults = append(l.faults, Fault{Key: key, Problem: problem, Fix: fix})
}

func (l *loader) faulty(key string) bool {
	return slices.ContainsFunc(l.faults, func(f Fault) bool { return f.Key == key })
}

func (l *loader) set(name, text, origin string) {
	k, ok := l.byName[name]
	if !ok {
		fix := "remove it; -print-config lists the keys"
		if near := nearest(name, l.names); near != "" {
			fix = fmt.Sprintf("did you mean %q?", near)
		}
		l.fault(name, "unknown key in "+origin, fix)
		return
	}
	if err := k.set(text); err != nil {
		l.fault(name, fmt.Sprintf("%v (in %s)", err, origin), fmt.Sprintf("give a %s", k.field.Type()))
	}
}

func (l *loader) yaml(text []byte) {
	var tree yaml.MapSlice
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.UseOrderedMap())
	if err := decoder.Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		l.fault("file", "not a YAML mapping: "+strings.TrimSpace(yaml.FormatError(err, false, true)), "correct the marked line")
		return
	}
	l.walk("", tree)
}

func (l *loader) walk(prefix string, tree yaml.MapSlice) {
	for _, item := range tree {
		name := prefix + fmt.Sprint(item.Key)
		switch value := item.Value.(type) {
		case yaml.MapSlice:
			l.walk(name+".", value)
		case nil:
			if !l.isSection(name) {
				l.fault(name, "has no value", "give one, or remove the key to take the default")
			}
		case string, bool, int, int64, uint64, float64:
			l.set(name, fmt.Sprint(value), "file")
		default:
			l.fault(name, fmt.Sprintf("is a %T", value), "give a single value")
		}
	}
}

func (l *loader) isSection(name string) bool {
	for _, known := range l.names {
		if strings.HasPrefix(known, name+".") {
			return true
		}
	}
	return false
}

func (l *loader) env(environment []string) (unknown []string) {
	byEnv := make(map[string]string, len(l.byName))
	for name, k := range l.byName {
		byEnv[k.env()] = name
	}
	for _, entry := range environment {
		variable, text, _ := strings.Cut(entry, "=")
		if name, ok := byEnv[variable]; ok {
			l.set(name, text, "environment "+variable)
		} else if strings.HasPrefix(variable, EnvPrefix) && variable != EnvPrefix+"CONFIG" {
			unknown = append(unknown, variable)
		}
	}
	return unknown
}

func (l *loader) flags(arguments []string) (rest []string) {
	for i, word := range arguments {
		if word == "--" {
			return arguments[i+1:]
		}
		if !strings.HasPrefix(word, "-") || word == "-" {
			return arguments[i:]
		}
		name, text, ok := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if k, known := l.byName[name]; !ok && known && k.field.Kind() == reflect.Bool {
			text = "true"
		} else if !ok && known {
			l.fault(name, "flag has no value", fmt.Sprintf("write -%s=VALUE", name))
			continue
		}
		l.set(name, text, "flags")
	}
	return nil
}

// Print writes the effective configuration as YAML that Load reads back, but for secrets, which are masked.
func (c *Config) Print(w io.Writer) error {
	var open []string // sections that are open above the current line
	for _, k := range keysOf("", reflect.ValueOf(c).Elem()) {
		parts := strings.Split(k.name, ".")
		sections := parts[:len(parts)-1]
		same := 0
		for same < len(open) && same < len(sections) && open[same] == sections[same] {
			same++
		}
		for depth := same; depth < len(sections); depth++ {
			if _, err := fmt.Fprintf(w, "%s%s:\n", strings.Repeat("  ", depth), sections[depth]); err != nil {
				return fmt.Errorf("print configuration: %w", err)
			}
		}
		open = sections
		value := k.text()
		if k.field.Kind() == reflect.String {
			value = fmt.Sprintf("%q", value)
		}
		if _, err := fmt.Fprintf(w, "%s%s: %s\n", strings.Repeat("  ", len(sections)), parts[len(parts)-1], value); err != nil {
			return fmt.Errorf("print configuration: %w", err)
		}
	}
	return nil
}

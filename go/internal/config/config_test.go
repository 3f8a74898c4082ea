package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shortlistd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	t.Parallel()
	c, rest, unknown, err := Load(Source{
		File:  write(t, "models: from-file\npool:\n  workers: 1\ngate:\n  max_cost: 1\n  max_wait: 3s\n"),
		Env:   []string{"SHORTLIST_POOL_WORKERS=2", "SHORTLIST_GATE_MAX_COST=2", "SHORTLIST_SERVICE_HOST=10.0.0.1", "HOME=/"},
		Flags: []string{"-gate.max_cost=3", "--debug.allow_all", "verify", "-x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Models != "from-file" || c.Pool.Workers != 2 || c.Gate.MaxCost != 3 || c.Gate.MaxWait != 3*time.Second || !c.Debug.AllowAll {
		t.Errorf("configuration: %+v", c)
	}
	if c.Data.Address != "127.0.0.1:7070" {
		t.Errorf("the default address is %s", c.Data.Address)
	}
	if diff := cmp.Diff([]string{"verify", "-x"}, rest); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"SHORTLIST_SERVICE_HOST"}, unknown); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFaultIsListedAtOnce(t *testing.T) {
	t.Parallel()
	_, _, _, err := Load(Source{
		File: write(t, "gate:\n  max_cots: 5\npool:\n  workers: [1]\ndrain:\n  limit: fast\nfunnel:\n  reserve: 9s\n"),
		Env:  []string{"SHORTLIST_RUNTIME_PROVIDER=gpu"}, Flags: []string{"-data.address=nowhere", "-store.path"},
	})
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error: %v", err)
	}
	found := map[string]string{}
	for _, f := range faults {
		found[f.Key] = f.Problem
		if f.Problem == "" || f.Fix == "" {
			t.Errorf("fault without problem or fix: %+v", f)
		}
	}
	for _, key := range []string{"gate.max_cots", "pool.workers", "drain.limit", "funnel.reserve", "runtime.provider", "data.address", "store.path"} {
		if found[key] == "" {
			t.Errorf("no fault names %s:\n%v", key, err)
		}
	}
	if !strings.Contains(err.Error(), `did you mean "gate.max_cost"?`) {
		t.Errorf("the nearest key is not named:\n%v", err)
	}
}

func TestBrokenYAMLIsAFault(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a: [", "- 1", "pool:\n  workers: 1\n  workers: 2\n", "just text"} {
		if _, _, _, err := Load(Source{File: write(t, text)}); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	for _, text := range []string{"", "# nothing\n", "pool:\n"} {
		if _, _, _, err := Load(Source{File: write(t, text)}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What Print writes sets every key, and loads to the same configuration; secrets stay hidden.
func TestPrintLoadsBack(t *testing.T) {
	t.Parallel()
	c := &Config{}
	c.EnsureDefaults()
	c.Models, c.Pool.Workers, c.Runtime.CUDALibraries = `odd "name": yes`, 7, "/a:/b"
	var text bytes.Buffer
	if err := c.Print(&text); err != nil {
		t.Fatal(err)
	}
	again, _, _, err := Load(Source{File: write(t, text.String())})
	if err != nil {
		t.Fatalf("%v\n%s", err, &text)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("(-printed +loaded)\n%s", diff)
	}
	c.Debug.Token = "s3cret"
	text.Reset()
	if err := c.Print(&text); err != nil || strings.Contains(text.String(), "s3cret") {
		t.Errorf("the token is printed:\n%s", &text)
	}
}

// Two keys must not share a variable: a_b.c and a.b_c would.
func TestKeysHaveVariablesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	keys := keysOf("", reflect.ValueOf(&Config{}).Elem())
	if len(keys) < 40 {
		t.Fatalf("only %d keys were found", len(keys))
	}
	for _, k := range keys {
		if other, ok := seen[k.env()]; ok {
			t.Errorf("%s and %s are both %s", k.name, other, k.env())
		}
		seen[k.env()] = k.name
	}
}

func TestNamesOfKeys(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{"MaxRecvBytes": "max_recv_bytes", "RPC": "rpc", "DeviceID": "device_id", "CUDALibraries": "cuda_libraries", "AllowCPU": "allow_cpu"} {
		if got := snake(field); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
}

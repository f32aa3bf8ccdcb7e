package test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/fairway-gateway/fairway/modules"
)

var update = flag.Bool("update", false, "write testdata/adapt anew from what the Caddyfiles adapt to now")

// divider stands in a test file between a Caddyfile and what it gives.
const divider = "\n----------\n"

// Every file in testdata/adapt is a Caddyfile, and the JSON that it means. It
// must also load: a config that adapts and then fails is no example.
func TestAdapt_Goldens(t *testing.T) {
	for _, file := range testFiles(t, "testdata/adapt/*.caddyfiletest") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			input, want := readTestFile(t, file)
			adapted, err := adapt(file, input)
			if err != nil {
				t.Fatal(err)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, adapted, "", "\t"); err != nil {
				t.Fatal(err)
			}
			got := pretty.String() + "\n"
			if *update {
				write(t, file, input+divider+got)
			} else if got != want {
				t.Errorf("adapted to\n%s\nwant\n%s\n(go test ./test -run TestAdapt -update accepts it)", got, want)
			}
			if err := validate(adapted); err != nil {
				t.Errorf("it does not load: %v", err)
			}
		})
	}
}

// Every file in testdata/refused is a Caddyfile with a mistake, and below it
// what the message must say, each line somewhere in it.
func TestAdapt_MistakesAreNamed(t *testing.T) {
	for _, file := range testFiles(t, "testdata/refused/*.caddyfiletest") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			input, want := readTestFile(t, file)
			adapted, err := adapt("Caddyfile", input)
			if err == nil {
				err = validate(adapted)
			}
			if err == nil {
				t.Fatal("it is accepted")
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the message is more than one line: %q", err)
			}
			for line := range strings.Lines(want) {
				if part := strings.TrimSpace(line); !strings.Contains(err.Error(), part) {
					t.Errorf("the message does not say %q: %v", part, err)
				}
			}
		})
	}
}

func TestAdapt_ExampleLoadsWithoutWarnings(t *testing.T) {
	t.Chdir(root)
	t.Setenv("FAIRWAY_DATA", t.TempDir()) // loading opens errors.log there
	text, err := os.ReadFile("Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": "Caddyfile.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Errorf("warning: %s", w)
	}
	if err := validate(adapted); err != nil {
		t.Error(err)
	}
}

func testFiles(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files like %s (%v)", pattern, err)
	}
	return files
}

func readTestFile(t *testing.T, file string) (input, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, ok := strings.Cut(string(b), divider)
	if !ok || strings.TrimSpace(want) == "" && !*update {
		t.Fatalf("%s has nothing below a line of dashes", file)
	}
	return input, want
}

func adapt(file, text string) ([]byte, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": file})
	return adapted, err
}

// validate is what `fairway validate` does after adapting, in silence.
func validate(adapted []byte) error {
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(adapted, &c); err != nil {
		return err
	}
	if c.Logging == nil {
		c.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{
			WriterRaw: json.RawMessage(`{"output":"discard"}`),
		}}}}
	}
	return caddy.Validate(&c)
}

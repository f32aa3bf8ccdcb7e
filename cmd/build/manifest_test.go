package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// good is a manifest that stands in a folder with a module example.com/gate.
const good = `caddy = "v2.11.9"
output = "bin/gate"
tags = ["one", "two"]
ldflags = "-s -X 'main.name=it''s {version}'"
version = "v9.9.9"

[[module]]
path = "example.com/gate/modules"
local = "."

[[module]]
path = "example.com/other"
version = "v1.2.3"

[[replacement]]
old = "example.com/dep"
new = "./dep"
`

// folder makes a temporary folder with the manifest, a module example.com/gate
// around it and one example.com/dep in ./dep.
func folder(t *testing.T, manifest string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "with a space")
	for name, text := range map[string]string{
		"xcaddy.toml": manifest,
		"go.mod":      "module example.com/gate\n\ngo 1.26.0\n\nrequire github.com/caddyserver/caddy/v2 v2.11.9\n",
		"dep/go.mod":  "module example.com/dep\n",
		"empty/file":  "",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRun_MistakesAreOneLine goes through the whole command, so that it also
// shows that each mistake is found before anything is built.
func TestRun_MistakesAreOneLine(t *testing.T) {
	for name, tt := range map[string]struct {
		old, new string // replaced in good
		want     string // after the file's name
	}{
		"not TOML": {
			`output = "bin/gate"`, `output = bin/gate`,
			`:2: output: expected value but found "bin" instead`,
		},
		"wrong type": {
			`caddy = "v2.11.9"`, `caddy = 2`,
			`:1: caddy: want a string, got a value of type int64`,
		},
		"one string for a list": {
			`tags = ["one", "two"]`, `tags = "one"`,
			`:3: tags: want a list, got a value of type string`,
		},
		"one table where a list is": {
			"[[replacement]]", "[module]\n[[replacement]]",
			`:15: Key 'module' has already been defined.`,
		},
		"key twice": {
			`output = "bin/gate"`, `caddy = "v2.11.9"`,
			`:2: caddy: Key 'caddy' has already been defined.`,
		},
		"unknown key at the top": {
			`output =`, "outptu = 1\noutput =",
			`:2: unknown key "outptu" (known: caddy, output, tags, ldflags, version, [[module]], [[replacement]])`,
		},
		"unknown key in a module": {
			`version = "v1.2.3"`, "version = \"v1.2.3\"\nverison = 1",
			`:14: unknown key "module.verison" (known: path, version, local)`,
		},
		"unknown key in a replacement": {
			`new = "./dep"`, "new = \"./dep\"\nby = 1",
			`:18: unknown key "replacement.by" (known: old, new)`,
		},
		"unknown table": {
			"[[replacement]]", "[builder]\nos = 1\n[[replacement]]",
			`:15: unknown key "builder" (known: caddy, output, tags, ldflags, version, [[module]], [[replacement]])`,
		},
		"no caddy version": {
			`caddy = "v2.11.9"`, ``,
			`: caddy: want an exact version such as v2.11.9, got ""`,
		},
		"inexact caddy version": {
			`"v2.11.9"`, `"latest"`,
			`:1: caddy: want an exact version such as v2.11.9, got "latest"`,
		},
		"caddy version without its v": {
			`"v2.11.9"`, `"2.11.9"`,
			`:1: caddy: want an exact version such as v2.11.9, got "2.11.9"`,
		},
		"another major version of caddy": {
			`"v2.11.9"`, `"v3.0.0"`,
			`:1: caddy: want a version of Caddy 2, got "v3.0.0"`,
		},
		"caddy older than the module needs": {
			`"v2.11.9"`, `"v2.11.9-rc.1"`,
			`:1: caddy: "v2.11.9-rc.1" is older than "v2.11.9", which go.mod asks for`,
		},
		"no output": {
			`output = "bin/gate"`, `output = ""`,
			`:2: output: want the file to write, got ""`,
		},
		"bad tag": {
			`"two"`, `"two,three"`,
			`:3: tags: want Go build tags, got "two,three"`,
		},
		"bad own version": {
			`"v9.9.9"`, `"v9 -X a=b"`,
			`:5: version: want one word without quotes, got "v9 -X a=b"`,
		},
		"no path": {
			`path = "example.com/other"`, ``,
			`:11: [[module]] 2: path: want an import path such as github.com/you/module, got ""`,
		},
		"path without a host": {
			`"example.com/other"`, `"other"`,
			`:12: [[module]] 2: path: want an import path such as github.com/you/module, got "other"`,
		},
		"path with a version": {
			`"example.com/other"`, `"example.com/other@v1.0.0"`,
			`:12: [[module]] 2: path: want an import path such as github.com/you/module, got "example.com/other@v1.0.0"`,
		},
		"path twice": {
			`"example.com/other"`, `"example.com/gate/modules"`,
			`:12: [[module]] 2: path: "example.com/gate/modules" is listed twice`,
		},
		"module without a version": {
			`version = "v1.2.3"`, ``,
			`:11: [[module]] 2: version: example.com/other: want an exact version such as v1.2.3, or a local folder, got ""`,
		},
		"module with a short version": {
			`"v1.2.3"`, `"v1.2"`,
			`:13: [[module]] 2: version: example.com/other: want an exact version such as v1.2.3, or a local folder, got "v1.2"`,
		},
		"module with version and folder": {
			`local = "."`, "local = \".\"\nversion = \"v1.0.0\"",
			`:9: [[module]] 1: local: example.com/gate/modules: want either a version or a local folder, got both "v1.0.0" and "."`,
		},
		"folder that does not exist": {
			`local = "."`, `local = "../absent"`,
			`:9: [[module]] 1: local: "../absent": no such file or directory`,
		},
		"folder that is a file": {
			`local = "."`, `local = "go.mod"`,
			`:9: [[module]] 1: local: "go.mod": not a folder`,
		},
		"folder without go.mod": {
			`local = "."`, `local = "empty"`,
			`:9: [[module]] 1: local: "empty": no go.mod in that folder`,
		},
		"folder of another module": {
			`local = "."`, `local = "dep"`,
			`:8: [[module]] 1: path: "example.com/gate/modules" is not in the folder "dep", which holds the module "example.com/dep"`,
		},
		"replacing nothing": {
			`old = "example.com/dep"`, ``,
			`:15: [[replacement]] 1: old: want a Go module path, got ""`,
		},
		"replacing twice": {
			`new = "./dep"`, "new = \"./dep\"\n[[replacement]]\nold = \"example.com/dep\"\nnew = \"./dep\"",
			`:19: [[replacement]] 2: old: "example.com/dep" is replaced twice`,
		},
		"replacing by a path without a version": {
			`"./dep"`, `"example.com/fork"`,
			`:17: [[replacement]] 1: new: want a folder (./x, ../x, /x) or path@version, got "example.com/fork"`,
		},
		"replacing by an absent folder": {
			`"./dep"`, `"./absent"`,
			`:17: [[replacement]] 1: new: "./absent": no such file or directory`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, tt.old, tt.new, 1)
			if text == good {
				t.Fatalf("the manifest has no %q to replace", tt.old)
			}
			file := filepath.Join(folder(t, text), "xcaddy.toml")
			assertOneLine(t, runCommand(t, "-f", file), file+tt.want)
		})
	}
}

func TestRun_NoModules(t *testing.T) {
	file := filepath.Join(folder(t, "caddy = \"v2.11.9\"\noutput = \"x\"\n"), "xcaddy.toml")
	assertOneLine(t, runCommand(t, "-f", file), file+": [[module]]: want at least one module to build in, got none")
}

func TestRun_MissingManifest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "absent.toml")
	assertOneLine(t, runCommand(t, "-f", file), file+": no such file or directory")
}

func TestRun_BrokenGoMod(t *testing.T) {
	dir := folder(t, good)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("modul example.com/gate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := runCommand(t, "-f", filepath.Join(dir, "xcaddy.toml"))
	if err == nil || !strings.Contains(err.Error(), "unknown directive: modul") {
		t.Errorf("run = %v, want it to quote go.mod's mistake", err)
	}
}

func TestRun_NoGoToolchain(t *testing.T) {
	file := filepath.Join(folder(t, good), "xcaddy.toml")
	t.Setenv("XCADDY_WHICH_GO", "")
	t.Setenv("PATH", t.TempDir())
	assertOneLine(t, runCommand(t, "-f", file),
		`go toolchain: "go" not found in PATH: install Go from https://go.dev/dl, or name it in XCADDY_WHICH_GO`)
}

func TestRun_UnexpectedArgument(t *testing.T) {
	assertOneLine(t, runCommand(t, "bin/fairway"), `unexpected argument "bin/fairway": see go run ./cmd/build -h`)
}

func runCommand(t *testing.T, args ...string) error {
	t.Helper()
	var out strings.Builder
	return run(t.Context(), args, &out, &out)
}

func assertOneLine(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("run = %v\nwant  %s", err, want)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// toolchain is the go command that builds.
type toolchain struct {
	path string
}

// findToolchain looks for the go command where xcaddy does: XCADDY_WHICH_GO
// first, then PATH.
func findToolchain() (toolchain, error) {
	name := os.Getenv("XCADDY_WHICH_GO")
	if name == "" {
		name = "go"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return toolchain{}, fmt.Errorf("go toolchain: %q not found in PATH: install Go from https://go.dev/dl, or name it in XCADDY_WHICH_GO", name)
	}
	return toolchain{path}, nil
}

// run runs the go command and returns what it printed; its error is the last
// line that the command said.
func (t toolchain) run(ctx context.Context, args ...string) (string, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		if lines := strings.Split(strings.TrimSpace(said.String()), "\n"); lines[len(lines)-1] != "" {
			err = errors.New(lines[len(lines)-1])
		}
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out.String()), nil
}

// goMod is the part of a go.mod that the build asks about.
type goMod struct {
	Module  struct{ Path string }
	Require []struct{ Path, Version string }
}

// version is the version that the go.mod requires of a module, or "".
func (g goMod) version(path string) string {
	for _, r := range g.Require {
		if r.Path == path {
			return r.Version
		}
	}
	return ""
}

func goModOf(dir string) string { return filepath.Join(dir, "go.mod") }

func (t toolchain) readGoMod(ctx context.Context, dir string) (goMod, error) {
	var g goMod
	text, err := t.run(ctx, "mod", "edit", "-json", goModOf(dir))
	if err != nil {
		return g, err
	}
	return g, json.Unmarshal([]byte(text), &g)
}

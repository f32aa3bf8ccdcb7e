// Package test drives the real programs: bin/fairway as cmd/build makes it,
// bin/users, redis-server and PostgreSQL, on free loopback ports and in
// temporary folders. What is not installed fails the test; nothing is skipped.
//
// All whole-server tests are in this one package and none is parallel: they
// measure nothing, but a machine with two cores should not run three gateways
// under load at once. They wait by polling, with deadlines that only a broken
// program misses.
package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

// binFolder names a folder with programs to use instead of building them:
//
//	FAIRWAY_TEST_BIN=bin go test ./test
const binFolder = "FAIRWAY_TEST_BIN"

// root is the repository's folder.
const root = ".."

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

// buildDir is where programs are built, once per run.
var buildDir string

func runTests(m *testing.M) int {
	var err error
	if buildDir, err = os.MkdirTemp("", "fairway-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(buildDir)
	return pgtest.Main(m)
}

var (
	buildFairway = sync.OnceValues(func() (string, error) {
		return build("fairway", "run", "./cmd/build", "-o")
	})
	buildUsers = sync.OnceValues(func() (string, error) {
		return build("users", "build", "-o")
	})
	buildRunner = sync.OnceValues(func() (string, error) {
		return build("run", "build", "-o")
	})
	buildBuilder = sync.OnceValues(func() (string, error) {
		return build("build", "build", "-o")
	})
)

// fairway is the path of the gateway program, which xcaddy builds from
// xcaddy.toml at its first use.
func fairway(t testing.TB) string { return program(t, buildFairway) }

// users is the path of the user service's program.
func users(t testing.TB) string { return program(t, buildUsers) }

// runner is the path of the program behind `make run`.
func runner(t testing.TB) string { return program(t, buildRunner) }

// builder is the path of the program that reads xcaddy.toml.
func builder(t testing.TB) string { return program(t, buildBuilder) }

func program(t testing.TB, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// build runs the go command with args, the program's path and, for `go build`,
// its package.
func build(name string, args ...string) (string, error) {
	if dir := os.Getenv(binFolder); dir != "" {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(root, dir)
		}
		return filepath.Abs(filepath.Join(dir, name))
	}
	path := filepath.Join(buildDir, name)
	args = append(args, path)
	if args[0] == "build" {
		args = append(args, "./cmd/"+name)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return path, nil
}

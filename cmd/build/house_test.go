package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// TestHouse_ManifestAgreesWithGoMod is why bin/fairway, which xcaddy builds, is
// the same program that the tests test: both take the same versions.
func TestHouse_ManifestAgreesWithGoMod(t *testing.T) {
	m, err := readManifest(filepath.Join(root, "xcaddy.toml"))
	if err != nil {
		t.Fatal(err)
	}
	goCmd, err := findToolchain()
	if err != nil {
		t.Fatal(err)
	}
	g, err := goCmd.readGoMod(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.version("github.com/caddyserver/caddy/v2"); got != m.Caddy {
		t.Errorf("go.mod requires caddy %q, xcaddy.toml %q", got, m.Caddy)
	}
	for _, mod := range m.Modules {
		if mod.Local != "" {
			continue
		}
		if got := requiredFor(g, mod.Path); got != mod.Version {
			t.Errorf("go.mod requires %s %q, xcaddy.toml %q", mod.Path, got, mod.Version)
		}
	}
	if _, err := makePlan(t.Context(), m, goCmd); err != nil {
		t.Error(err)
	}
}

// requiredFor is the version of the module that holds a package: the longest
// path that is a prefix of the package's.
func requiredFor(g goMod, pkg string) (version string) {
	longest := ""
	for _, r := range g.Require {
		if (pkg == r.Path || strings.HasPrefix(pkg, r.Path+"/")) && len(r.Path) > len(longest) {
			longest, version = r.Path, r.Version
		}
	}
	return version
}

// TestHouse_MakefileSharesTheBuild keeps the flags alike by which the tests and
// bin/fairway compile each package once.
func TestHouse_MakefileSharesTheBuild(t *testing.T) {
	m, err := readManifest(filepath.Join(root, "xcaddy.toml"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"export CGO_ENABLED = 0\n",
		"export GOFLAGS = -trimpath -tags=" + strings.Join(m.Tags, ",") + "\n",
	} {
		if !strings.Contains(string(makefile), want) {
			t.Errorf("the Makefile lacks the line %q", want)
		}
	}
}

// git runs git in a repository of its own, whatever this machine's settings.
func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{
		"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false",
	}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

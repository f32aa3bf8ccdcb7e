package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
)

var (
	// versionForm is a Go module version in full: vMAJOR.MINOR.PATCH, with a
	// pre-release or pseudo-version suffix, and +incompatible.
	versionForm = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+incompatible)?$`)

	// pathForm is an import path whose first element is a host name.
	pathForm = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(/[0-9A-Za-z_.~-]+)+$`)

	// tagForm is one Go build tag.
	tagForm = regexp.MustCompile(`^[\pL\pN_.]+$`)
)

// check finds what is wrong with the manifest before anything is started.
func (m *manifest) check() error {
	if !versionForm.MatchString(m.Caddy) {
		return m.errorAt("", 0, "caddy", "want an exact version such as v2.11.9, got %q", m.Caddy)
	}
	if !strings.HasPrefix(m.Caddy, "v2.") {
		return m.errorAt("", 0, "caddy", "want a version of Caddy 2, got %q", m.Caddy)
	}
	if err := m.checkBuildKeys(); err != nil {
		return err
	}
	if len(m.Modules) == 0 {
		return m.errorAt("", 0, "[[module]]", "want at least one module to build in, got none")
	}
	for i := range m.Modules {
		if err := m.checkModule(i); err != nil {
			return err
		}
	}
	for i := range m.Replacements {
		if err := m.checkReplacement(i); err != nil {
			return err
		}
	}
	return nil
}

func (m *manifest) checkBuildKeys() error {
	if m.Output == "" {
		return m.errorAt("", 0, "output", "want the file to write, got %q", m.Output)
	}
	for _, tag := range m.Tags {
		if !tagForm.MatchString(tag) {
			return m.errorAt("", 0, "tags", "want Go build tags, got %q", tag)
		}
	}
	if strings.ContainsAny(m.Version, " \t\r\n'\"") {
		return m.errorAt("", 0, "version", "want one word without quotes, got %q", m.Version)
	}
	return nil
}

func (m *manifest) checkModule(i int) error {
	mod := m.Modules[i]
	if !pathForm.MatchString(mod.Path) {
		return m.errorAt("module", i, "path", "want an import path such as github.com/you/module, got %q", mod.Path)
	}
	same := func(o module) bool { return o.Path == mod.Path }
	if slices.ContainsFunc(m.Modules[:i], same) {
		return m.errorAt("module", i, "path", "%q is listed twice", mod.Path)
	}
	if mod.Local == "" {
		if !versionForm.MatchString(mod.Version) {
			return m.errorAt("module", i, "version", "%s: want an exact version such as v1.2.3, or a local folder, got %q", mod.Path, mod.Version)
		}
		return nil
	}
	if mod.Version != "" {
		return m.errorAt("module", i, "local", "%s: want either a version or a local folder, got both %q and %q", mod.Path, mod.Version, mod.Local)
	}
	return m.checkFolder("module", i, "local", mod.Local)
}

func (m *manifest) checkReplacement(i int) error {
	r := m.Replacements[i]
	if !pathForm.MatchString(r.Old) {
		return m.errorAt("replacement", i, "old", "want a Go module path, got %q", r.Old)
	}
	same := func(o replacement) bool { return o.Old == r.Old }
	if slices.ContainsFunc(m.Replacements[:i], same) {
		return m.errorAt("replacement", i, "old", "%q is replaced twice", r.Old)
	}
	if isFolder(r.New) {
		return m.checkFolder("replacement", i, "new", r.New)
	}
	path, version, ok := strings.Cut(r.New, "@")
	if !ok || !pathForm.MatchString(path) || !versionForm.MatchString(version) {
		return m.errorAt("replacement", i, "new", "want a folder (./x, ../x, /x) or path@version, got %q", r.New)
	}
	return nil
}

// checkFolder wants a folder with a go.mod in it.
func (m *manifest) checkFolder(table string, i int, key, dir string) error {
	info, err := os.Stat(m.path(dir))
	if err != nil {
		return m.errorAt(table, i, key, "%q: %v", dir, bareReason(err))
	}
	if !info.IsDir() {
		return m.errorAt(table, i, key, "%q: not a folder", dir)
	}
	if _, err := os.Stat(goModOf(m.path(dir))); err != nil {
		return m.errorAt(table, i, key, "%q: no go.mod in that folder", dir)
	}
	return nil
}

// isFolder tells a folder from a module path the way go.mod does.
func isFolder(s string) bool {
	return s == "." || s == ".." || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") || strings.HasPrefix(s, "/")
}

package main

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/xcaddy"
)

// plan is a manifest with everything looked up that xcaddy has to be told.
type plan struct {
	builder xcaddy.Builder
	output  string   // absolute
	version string   // what the binary calls itself
	local   []string // Go module paths that come from a folder
}

// makePlan maps a manifest onto xcaddy's builder.
func makePlan(ctx context.Context, m *manifest, goCmd toolchain) (*plan, error) {
	p := &plan{output: m.path(m.Output), version: m.Version}
	if p.version == "" {
		p.version = describe(ctx, m.dir)
	}
	p.builder = xcaddy.Builder{
		CaddyVersion: m.Caddy,
		BuildFlags:   buildFlags(m, p.version),
	}
	for _, r := range m.Replacements {
		p.replace(m, r)
	}
	for i := range m.Modules {
		if err := p.addModule(ctx, m, i, goCmd); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *plan) replace(m *manifest, r replacement) {
	to := r.New
	if isFolder(r.New) {
		to = m.path(r.New)
		p.local = append(p.local, r.Old)
	}
	p.builder.Replacements = append(p.builder.Replacements, xcaddy.NewReplace(r.Old, to))
}

// addModule adds one plugin, and for a local one the replacement of its Go
// module by its folder.
func (p *plan) addModule(ctx context.Context, m *manifest, i int, goCmd toolchain) error {
	mod := m.Modules[i]
	p.builder.Plugins = append(p.builder.Plugins, xcaddy.Dependency{PackagePath: mod.Path, Version: mod.Version})
	if mod.Local == "" {
		return nil
	}
	g, err := goCmd.readGoMod(ctx, m.path(mod.Local))
	if err != nil {
		return m.errorAt("module", i, "local", "%v", err)
	}
	if mod.Path != g.Module.Path && !strings.HasPrefix(mod.Path, g.Module.Path+"/") {
		return m.errorAt("module", i, "path", "%q is not in the folder %q, which holds the module %q", mod.Path, mod.Local, g.Module.Path)
	}
	if need := g.version("github.com/caddyserver/caddy/v2"); newer(need, m.Caddy) {
		return m.errorAt("", 0, "caddy", "%q is older than %q, which %s asks for", m.Caddy, need, path.Join(mod.Local, "go.mod"))
	}
	if !slices.Contains(p.local, g.Module.Path) {
		p.replace(m, replacement{Old: g.Module.Path, New: m.path(mod.Local)})
	}
	return nil
}

// buildFlags are the flags of go build, quoted as xcaddy splits them.
// -trimpath keeps this machine's paths out of the binary, and lets it share
// compiled packages with the tests, which the Makefile builds the same way.
func buildFlags(m *manifest, version string) string {
	flags := []string{"-trimpath"}
	if len(m.Tags) > 0 {
		flags = append(flags, "-tags", quote(strings.Join(m.Tags, ",")))
	}
	if m.LDFlags != "" {
		flags = append(flags, "-ldflags", quote(strings.ReplaceAll(m.LDFlags, "{version}", version)))
	}
	return strings.Join(flags, " ")
}

// quote makes one word of s for a POSIX shell's rules.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

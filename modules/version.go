package modules

import (
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
)

// modulePath is the Go module that this package is part of.
const modulePath = "github.com/fairway-gateway/fairway"

// buildVersion is set by the linker, as xcaddy.toml says; it is empty in a
// plain `go build`.
var buildVersion string

// description is what `fairway help` says first.
const description = `Fairway is an API gateway: Caddy with modules that decide who is calling, how
often, what they may send, what is already known and whether the upstream can
take it. All of Caddy's commands and configuration work as they do there.

	fairway run --config Caddyfile       run in the foreground
	fairway validate --config Caddyfile  check a configuration
	fairway reload --config Caddyfile    change it without dropping a request
	fairway list-modules                 what is built in`

// init names the program: `fairway version` prints Fairway's version in front
// of Caddy's own line.
func init() {
	caddy.CustomVersion = "fairway " + Version() + " caddy"
	if caddy.CustomBinaryName == "" {
		caddy.CustomBinaryName = "fairway"
	}
	if caddy.CustomLongDescription == "" {
		caddy.CustomLongDescription = description
	}
}

// Version is Fairway's version: what the linker set; else the version of the Go
// module, under which it was fetched; else "devel" and the commit, if that is known.
func Version() string {
	if buildVersion != "" {
		return buildVersion
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	return versionIn(info)
}

func versionIn(info *debug.BuildInfo) string {
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path != modulePath {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && info.Main.Path == modulePath && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

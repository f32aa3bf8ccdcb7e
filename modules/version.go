package modules

import (
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
)

// modulePath is how Fairway is named in a binary's build information.
const modulePath = "github.com/fairway-gateway/fairway"

// buildVersion is set by the linker (xcaddy.toml); empty in a plain go build.
var buildVersion string

// init makes `fairway version` print Fairway's version, then Caddy's own line.
func init() {
	caddy.CustomVersion = "fairway " + Version() + " caddy"
	if caddy.CustomBinaryName == "" {
		caddy.CustomBinaryName = "fairway"
	}
}

// Version is Fairway's version: what the linker set, else the version under
// which the module was fetched, else the commit it was built from.
func Version() string {
	if buildVersion != "" {
		return buildVersion
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return "development"
}

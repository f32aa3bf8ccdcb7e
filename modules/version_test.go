package modules

import (
	"runtime/debug"
	"testing"
)

func TestVersionIn_SaysWhereTheCodeCameFrom(t *testing.T) {
	self := func(version string) debug.Module {
		return debug.Module{Path: modulePath, Version: version}
	}
	tagged, replaced := self("v1.2.3"), self("v0.0.0-00010101000000-000000000000")
	replaced.Replace = &debug.Module{Path: "/src/fairway"}
	for name, tt := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"plain go build of a tagged commit":     {debug.BuildInfo{Main: self("v1.2.3+dirty")}, "v1.2.3+dirty"},
		"plain go build without a repository":   {debug.BuildInfo{Main: self("(devel)")}, "devel"},
		"xcaddy with a published version":       {debug.BuildInfo{Deps: []*debug.Module{{Path: "example.com/a", Version: "v9.0.0"}, &tagged}}, "v1.2.3"},
		"xcaddy with a folder, linker not told": {debug.BuildInfo{Deps: []*debug.Module{&replaced}}, "devel"},
		"plain go build of an untagged commit": {
			debug.BuildInfo{
				Main:     self("(devel)"),
				Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"}},
			}, "devel-0123456789ab",
		},
		"another program": {debug.BuildInfo{Main: debug.Module{Path: "example.com/a", Version: "v9.0.0"}}, "devel"},
	} {
		if got := versionIn(&tt.info); got != tt.want {
			t.Errorf("%s: versionIn = %q, want %q", name, got, tt.want)
		}
	}
}

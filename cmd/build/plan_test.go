package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/xcaddy"
)

func planFor(t *testing.T, file string) *plan {
	t.Helper()
	m, err := readManifest(file)
	if err != nil {
		t.Fatal(err)
	}
	goCmd, err := findToolchain()
	if err != nil {
		t.Fatal(err)
	}
	p, err := makePlan(t.Context(), m, goCmd)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMakePlan_MapsEveryKey(t *testing.T) {
	dir := folder(t, good)
	p := planFor(t, filepath.Join(dir, "xcaddy.toml"))
	want := xcaddy.Builder{
		CaddyVersion: "v2.11.9",
		Plugins: []xcaddy.Dependency{
			{PackagePath: "example.com/gate/modules"},
			{PackagePath: "example.com/other", Version: "v1.2.3"},
		},
		Replacements: []xcaddy.Replace{
			xcaddy.NewReplace("example.com/dep", filepath.Join(dir, "dep")),
			xcaddy.NewReplace("example.com/gate", dir),
		},
		// Quoted for a shell: xcaddy splits it like one.
		BuildFlags: `-trimpath -tags 'one,two' -ldflags '-s -X '\''main.name=it'\'''\''s v9.9.9'\'''`,
	}
	if !reflect.DeepEqual(p.builder, want) {
		t.Errorf("builder = %+v\nwant %+v", p.builder, want)
	}
	if want := filepath.Join(dir, "bin", "gate"); p.output != want {
		t.Errorf("output = %q, want %q", p.output, want)
	}
}

func TestMakePlan_ReplacementByVersion(t *testing.T) {
	text := strings.Replace(good, `"./dep"`, `"example.com/fork@v0.1.0"`, 1)
	p := planFor(t, filepath.Join(folder(t, text), "xcaddy.toml"))
	if got, want := p.builder.Replacements[0], xcaddy.NewReplace("example.com/dep", "example.com/fork@v0.1.0"); got != want {
		t.Errorf("replacement = %v, want %v", got, want)
	}
	if want := []string{"example.com/gate"}; !reflect.DeepEqual(p.local, want) {
		t.Errorf("modules from folders = %q, want %q", p.local, want)
	}
}

func TestMakePlan_VersionIsWhatGitSays(t *testing.T) {
	text := strings.Replace(good, `version = "v9.9.9"`, "", 1)
	dir := folder(t, text)
	if got := planFor(t, filepath.Join(dir, "xcaddy.toml")).version; got != "devel" {
		t.Errorf("version outside a repository = %q, want devel", got)
	}
	git(t, dir, "init", "-q")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-q", "-m", "first")
	if got := planFor(t, filepath.Join(dir, "xcaddy.toml")).version; !strings.HasPrefix(got, "devel-") {
		t.Errorf("version without a tag = %q, want devel-COMMIT", got)
	}
	git(t, dir, "tag", "v1.0.0")
	if got := planFor(t, filepath.Join(dir, "xcaddy.toml")).version; got != "v1.0.0" {
		t.Errorf("version of a tagged commit = %q, want v1.0.0", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty", "file"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := planFor(t, filepath.Join(dir, "xcaddy.toml")).version; got != "v1.0.0-dirty" {
		t.Errorf("version of a changed tree = %q, want v1.0.0-dirty", got)
	}
}

func TestShadow_EmptyListsComeFirst(t *testing.T) {
	t.Setenv("GOPROXY", "https://proxy.example,direct")
	goCmd, err := findToolchain()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a b")
	got, err := shadow(t.Context(), goCmd, dir, []string{"example.com/Big/gate"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "file://" + strings.ReplaceAll(filepath.ToSlash(dir), " ", "%20") + ",https://proxy.example,direct"; got != want {
		t.Errorf("GOPROXY = %q, want %q", got, want)
	}
	list, err := os.ReadFile(filepath.Join(dir, "example.com", "!big", "gate", "@v", "list"))
	if err != nil || len(list) != 0 {
		t.Errorf("the version list holds %q, %v; want it there and empty", list, err)
	}
}

func TestNewer(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"v2.11.9", "v2.11.9", false},
		{"v2.11.10", "v2.11.9", true},
		{"v2.9.0", "v2.11.0", false},
		{"v2.11.9", "v2.11.9-rc.1", true},
		{"v2.11.9-rc.1", "v2.11.9", false},
		{"v2.11.9-rc.2", "v2.11.9-rc.1", true},
		{"", "v2.11.9", false},
	} {
		if got := newer(tt.a, tt.b); got != tt.want {
			t.Errorf("newer(%q, %q) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestProgress_OneLineForEachCommand(t *testing.T) {
	var out strings.Builder
	full, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	p := &progress{&out, full}
	for _, msg := range []string{
		"[INFO] Writing main module: /tmp/x/main.go\npackage main\n",
		"[INFO] exec (timeout=0s): /usr/local/go/bin/go mod init caddy \n",
		"[WARNING] Enabling cgo\n",
	} {
		if _, err := p.Write([]byte(msg)); err != nil {
			t.Fatal(err)
		}
	}
	if want := "build: $ go mod init caddy\nbuild: [WARNING] Enabling cgo\n"; out.String() != want {
		t.Errorf("the user sees %q, want %q", out.String(), want)
	}
}

func TestLastCommand_ShowsWhatTheFailedOneSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	text := `[INFO] Pinning versions
[INFO] exec (timeout=0s): /go/bin/go get -v example.com/good@v1.0.0
go: added example.com/good v1.0.0
[INFO] exec (timeout=0s): /go/bin/go get -v example.com/bad@v1.0.0
go: example.com/bad@v1.0.0: not found:
	no such repository
[INFO] Cleaning up temporary folder: /tmp/x
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := lastCommand(file), "go: example.com/bad@v1.0.0: not found:\n\tno such repository"; got != want {
		t.Errorf("lastCommand = %q, want %q", got, want)
	}
}

// Package docstest keeps the Caddyfiles that the pages in docs/ show true: each
// lies in a file, and loads.
package docstest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage" // where Validate has its storage
)

// Root changes into the repository's root, where relative paths of the shown
// configs begin, until the test ends.
func Root(t *testing.T) {
	t.Helper()
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			t.Chdir(dir)
			return
		}
		if abs, err := filepath.Abs(dir); err != nil || abs == filepath.Dir(abs) {
			t.Fatalf("no go.mod above the test: %v", err)
		}
	}
}

// Check compares the Caddyfiles on a page with the files in a folder, both
// ways, and loads each. All paths, also those in the Caddyfiles, begin at the
// repository's root.
func Check(t *testing.T, page, folder string) {
	t.Helper()
	Root(t)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.Caddyfile"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	if shown := strings.Count(string(text), "```caddyfile\n"); shown != len(files) {
		t.Errorf("%s shows %d Caddyfiles, %s has %d", page, shown, folder, len(files))
	}
	for _, file := range files {
		config, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "```caddyfile\n"+string(config)+"```") {
			t.Errorf("%s does not show %s", page, file)
		}
		load(t, file, config)
	}
}

// load adapts a Caddyfile, without a warning but of its format, and provisions what
// comes of it, with a storage of its own.
func load(t *testing.T, file string, config []byte) {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(config, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Errorf("%s: %v", file, err)
		return
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Errorf("%s: %s", file, w.Message)
		}
	}
	Validate(t, file, adapted)
}

// Validate provisions a config in JSON, with a storage of its own and without the
// admin endpoint.
func Validate(t *testing.T, file string, config []byte) {
	t.Helper()
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		t.Errorf("%s: %v", file, err)
		return
	}
	c.StorageRaw = fmt.Appendf(nil, `{"module":"file_system","root":%q}`, t.TempDir())
	c.Admin = &caddy.AdminConfig{Disabled: true}
	if err := caddy.Validate(&c); err != nil {
		t.Errorf("%s: %v", file, err)
	}
}

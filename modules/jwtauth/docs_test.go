package jwtauth

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
)

func init() {
	// modules/modules.go does it for the real binary.
	httpcaddyfile.RegisterDirectiveOrder("jwt_auth", httpcaddyfile.Before, "encode")
}

// docsFolder holds the configs that docs/jwt_auth.md shows.
const docsFolder = "testdata/docs"

// TestDocs_ShowTheConfigsThatAreTested compares the blocks of the page with the
// files, both ways.
func TestDocs_ShowTheConfigsThatAreTested(t *testing.T) {
	page, err := os.ReadFile("../../docs/jwt_auth.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(docsFolder)
	if err != nil {
		t.Fatal(err)
	}
	var contents []string
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(docsFolder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, string(b))
		if !strings.Contains(string(page), "\n"+string(b)+"```") {
			t.Errorf("%s is not shown in docs/jwt_auth.md", f.Name())
		}
	}
	shown := strings.Count(string(page), "```caddyfile\n") + strings.Count(string(page), "```json\n")
	if shown != len(contents) {
		t.Errorf("the page shows %d configs, %d are tested", shown, len(contents))
	}
}

func TestDocs_ConfigsAreValid(t *testing.T) {
	t.Setenv("MACHINES_SECRET", b64(testKeys().secret))
	t.Setenv("JWT_SECRET", b64(testKeys().secret))
	files, err := filepath.Glob(docsFolder + "/*.Caddyfile")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		document, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(b, map[string]any{"filename": file})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, w := range warnings {
			if !strings.Contains(w.Message, "not formatted") {
				t.Errorf("%s: %s", file, w.Message)
			}
		}
		validate(t, file, document)
	}
	b, err := os.ReadFile(docsFolder + "/provider.json")
	if err != nil {
		t.Fatal(err)
	}
	validate(t, "provider.json", []byte(`{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[`+string(b)+`]}]}}}}}`))
}

func validate(t *testing.T, name string, document []byte) {
	t.Helper()
	var cfg caddy.Config
	if err := json.Unmarshal(document, &cfg); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	cfg.StorageRaw = json.RawMessage(`{"module":"file_system","root":"` + t.TempDir() + `"}`)
	cfg.Admin = &caddy.AdminConfig{Disabled: true}
	if err := caddy.Validate(&cfg); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

package edge

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/logging"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/logging"

	_ "github.com/fairway-gateway/fairway/modules/problem"
)

func init() {
	// modules/modules.go does it for the real binary.
	httpcaddyfile.RegisterDirectiveOrder("request_id", httpcaddyfile.Before, "tracing")
	httpcaddyfile.RegisterDirectiveOrder("cors", httpcaddyfile.Before, "tracing")
	httpcaddyfile.RegisterDirectiveOrder("problem", httpcaddyfile.Before, "respond")
}

// Every Caddyfile that a page shows lies in a file, every file is shown, and
// all of them load.
func TestDocs_ShowConfigsThatLoad(t *testing.T) {
	t.Setenv("LOGS", t.TempDir())
	for page, folder := range map[string]string{"request_id.md": "testdata/request_id", "cors.md": "testdata/cors", "access_log.md": "testdata/access_log"} {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
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
			if err := load(config); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// load adapts a Caddyfile and provisions what comes of it.
func load(config []byte) error {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(config, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	c := new(caddy.Config)
	if err := json.Unmarshal(adapted, c); err != nil {
		return err
	}
	return caddy.Validate(c)
}

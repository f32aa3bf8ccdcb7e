package jwtauth

import (
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/logging"

	"github.com/fairway-gateway/fairway/modules/gateway/docstest"
)

func init() {
	// modules/modules.go does it for the real binary.
	httpcaddyfile.RegisterDirectiveOrder("jwt_auth", httpcaddyfile.Before, "encode")
}

// The page shows the configs of a folder, and each loads.
func TestDocs_ShowConfigsThatLoad(t *testing.T) {
	t.Setenv("MACHINES_SECRET", b64(testKeys().secret))
	t.Setenv("JWT_SECRET", b64(testKeys().secret))
	docstest.Check(t, "docs/jwt_auth.md", "modules/jwtauth/testdata/docs")
	page, err := os.ReadFile("docs/jwt_auth.md") // Check is at the root now
	if err != nil {
		t.Fatal(err)
	}
	provider, err := os.ReadFile("modules/jwtauth/testdata/docs/provider.json")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(page), "```json\n"); n != 1 || !strings.Contains(string(page), "```json\n"+string(provider)+"```") {
		t.Errorf("the page shows %d configs in JSON, and want provider.json alone", n)
	}
	docstest.Validate(t, "provider.json", []byte(`{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[`+string(provider)+`]}]}}}}}`))
}

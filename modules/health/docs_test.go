package health

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/logging"

	"github.com/fairway-gateway/fairway/modules/gateway/docstest"
)

func init() {
	// modules/modules.go does it for the real binary.
	httpcaddyfile.RegisterDirectiveOrder("health", httpcaddyfile.Before, "tracing")
}

// Every Caddyfile that a page shows lies in a file, every file is shown, and
// all of them load.
func TestDocs_ShowConfigsThatLoad(t *testing.T) {
	docstest.Check(t, "docs/health.md", "modules/health/testdata/docs")
}

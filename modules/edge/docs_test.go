package edge

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/logging"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/logging"

	"github.com/fairway-gateway/fairway/modules/gateway/docstest"
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
	docstest.Check(t, "docs/request_id.md", "modules/edge/testdata/request_id")
	docstest.Check(t, "docs/cors.md", "modules/edge/testdata/cors")
	docstest.Check(t, "docs/access_log.md", "modules/edge/testdata/access_log")
}

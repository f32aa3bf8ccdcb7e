package problem

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/logging"

	_ "github.com/fairway-gateway/fairway/modules/edge"
	"github.com/fairway-gateway/fairway/modules/gateway/docstest"
)

func init() {
	// modules/modules.go does it for the real binary.
	httpcaddyfile.RegisterDirectiveOrder("request_id", httpcaddyfile.Before, "tracing")
	httpcaddyfile.RegisterDirectiveOrder("problem", httpcaddyfile.Before, "respond")
}

// Every Caddyfile that a page shows lies in a file, every file is shown, and
// all of them load.
func TestDocs_ShowConfigsThatLoad(t *testing.T) {
	t.Setenv("PAGES", "modules/problem/testdata/docs")
	docstest.Check(t, "docs/problem.md", "modules/problem/testdata/docs")
}

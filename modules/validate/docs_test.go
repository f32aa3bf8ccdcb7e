package validate

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/zstd"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/logging"

	"github.com/fairway-gateway/fairway/modules/gateway/docstest"
	_ "github.com/fairway-gateway/fairway/modules/problem"
)

func init() {
	// modules/modules.go does it for the real binary.
	httpcaddyfile.RegisterDirectiveOrder("validate", httpcaddyfile.Before, "encode")
	httpcaddyfile.RegisterDirectiveOrder("problem", httpcaddyfile.Before, "respond")
}

// Every Caddyfile that a page shows lies in a file, every file is shown, and
// all of them load.
func TestDocs_ShowConfigsThatLoad(t *testing.T) {
	docstest.Check(t, "docs/validate.md", "modules/validate/testdata/docs")
}

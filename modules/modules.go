// Package modules builds every Fairway module into a Caddy binary and says in
// which order their directives run. It is the package to name to xcaddy:
//
//	xcaddy build --with github.com/fairway-gateway/fairway/modules
package modules

import (
	_ "time/tzdata" // time zones, for the access log, on machines without them

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	_ "github.com/fairway-gateway/fairway/modules/cache"
	_ "github.com/fairway-gateway/fairway/modules/console"
	_ "github.com/fairway-gateway/fairway/modules/edge"
	_ "github.com/fairway-gateway/fairway/modules/gateway"
	_ "github.com/fairway-gateway/fairway/modules/health"
	_ "github.com/fairway-gateway/fairway/modules/jwtauth"
	_ "github.com/fairway-gateway/fairway/modules/listener"
	_ "github.com/fairway-gateway/fairway/modules/problem"
	_ "github.com/fairway-gateway/fairway/modules/ratelimit"
	_ "github.com/fairway-gateway/fairway/modules/resilience"
	_ "github.com/fairway-gateway/fairway/modules/validate"
)

// order is the place of each directive in the pipeline when a Caddyfile does not
// say so itself with `route`. Anchors are Caddy's own directives, because those
// are in the list before any plugin is; directives before the same anchor run
// in the order in which they stand here.
var order = []struct {
	directive string
	anchor    string
}{
	{"request_id", "map"}, // that is, after tracing: the trace has the id
	{"log_sample", "map"},
	{"cors", "map"},
	{"health", "map"},
	{"jwt_auth", "encode"},
	{"jwtauth", "encode"}, // caddy-jwt's name for it
	{"rate_limit", "encode"},
	{"validate", "encode"},
	{"cache", "encode"},
	{"problem", "respond"},
	{"resilience", "reverse_proxy"},
}

func init() {
	for _, o := range order {
		httpcaddyfile.RegisterDirectiveOrder(o.directive, httpcaddyfile.Before, o.anchor)
	}
}

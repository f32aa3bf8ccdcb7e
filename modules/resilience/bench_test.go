package resilience

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// everything is a route with all that a request may pass. Its hedge is armed and
// not sent: one that is sent is another request.
const everything = `resilience {
	timeout 5s
	bulkhead 200 queue 50 wait 100ms
	priority {header.X-Plan} {
		high pro
	}
	fallback stale
	fallback respond 503
}
reverse_proxy %[1]s {
	lb_policy resilient {
		policy round_robin
	}
	transport resilient {
		try_timeout 1s
		breaker 5 failures open 60s
		retry 2 on connect 502 503
		hedge 500ms
		adaptive_limit 5 500
	}
}`

// BenchmarkRoute measures a request through a route in this process, upstream
// included, so that the difference between the routes is what resilience costs.
func BenchmarkRoute(b *testing.B) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }))
	defer origin.Close()
	for name, site := range map[string]string{
		"plain":   "reverse_proxy %[1]s {\nlb_policy round_robin\n}",
		"breaker": "reverse_proxy %[1]s {\nlb_policy resilient {\npolicy round_robin\n}\ntransport resilient\n}",
		"retries": "reverse_proxy %[1]s {\nlb_policy resilient {\npolicy round_robin\n}\ntransport resilient {\ntry_timeout 1s\nretry 2\n}\n}",
		"all":     everything,
	} {
		b.Run("route="+name, func(b *testing.B) {
			handler := routeOf(b, fmt.Sprintf(site, origin.Listener.Addr()))
			b.ReportAllocs()
			for b.Loop() {
				serveOnce(b, handler)
			}
		})
	}
}

func serveOnce(b *testing.B, handler http.Handler) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	ctx, cancel := context.WithCancel(r.Context())
	handler.ServeHTTP(w, r.WithContext(ctx))
	cancel() // as net/http does
	if w.Code != http.StatusOK {
		b.Fatal(w.Code)
	}
}

// routeOf provisions a config without starting it and returns its server.
func routeOf(b *testing.B, site string) http.Handler {
	b.Helper()
	config, err := adapt("{\nadmin off\nauto_https off\nlog default {\noutput discard\n}\n}\nhttp://example.com:8080 {\n" + site + "\n}")
	if err != nil {
		b.Fatal(err)
	}
	var c caddy.Config
	if err := json.Unmarshal(config, &c); err != nil {
		b.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&c)
	if err != nil {
		b.Fatal(err)
	}
	app, err := ctx.App("http")
	if err != nil {
		b.Fatal(err)
	}
	return app.(*caddyhttp.App).Servers["srv0"]
}

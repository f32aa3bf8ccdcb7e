// Package health answers whether the gateway should get traffic.
//
//	health /health {
//		redis
//		upstream users http://127.0.0.1:8081/health
//		http external_api https://api.example.com/health {
//			timeout 5s
//		}
//	}
//
//	HTTP/1.1 200 OK
//	Content-Type: application/json
//
//	{"status":"ok","redis":true,"users":true,"external_api":true,"timestamp":"2026-…Z"}
//
// The answer is 503 while a needed check fails, and while the gateway drains:
// with Caddy's shutdown_delay it says so before it stops listening, so that a
// load balancer leaves first. A check runs when a probe asks and at most once a
// second, however many probes come.
//
// It is no monitoring: a check says that something answers, not that it is
// right or fast.
package health

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

const (
	// DefaultTimeout bounds a check unless the config says otherwise.
	DefaultTimeout = 2 * time.Second

	// maxAge is how long an outcome answers probes before the check runs again.
	maxAge = time.Second

	// off as a URL leaves the check out, so that an environment variable decides.
	off = "off"
)

// Handler answers every request it gets; the route's matcher picks the path.
type Handler struct {
	// What the admin API calls this endpoint. Default: health.
	Name string `json:"name,omitempty"`

	// Answers 200 for as long as the process answers at all, draining or not,
	// and runs no checks: liveness, not readiness. Default: false.
	Live bool `json:"live,omitempty"`

	// What is checked, in the order in which it is shown.
	Checks []Check `json:"checks,omitempty"`

	// Who sees latencies and errors besides the booleans: IPs or CIDR ranges
	// that the client's address is in. Default: loopback.
	Details []string `json:"details,omitempty"`

	checks  []*check
	clients []*httpCheck
	allowed *caddyhttp.MatchClientIP
	ctx     context.Context
	logger  *zap.Logger
}

// Check is one question.
type Check struct {
	// What to ask: redis, upstream, http, disk, breakers or keys. An upstream is
	// a service behind the gateway, http anything else that its services depend
	// on. disk asks for room, breakers whether each `transport resilient` has an
	// upstream whose breaker lets requests through, keys whether each issuer of
	// jwt_auth has a key set.
	Kind string `json:"kind"`

	// The member of the answer. Required for upstream, http and disk; else it is
	// the kind.
	Name string `json:"name,omitempty"`

	// For disk: a file or folder on the disk. Placeholders as in url.
	Path string `json:"path,omitempty"`

	// For disk: how much must be free, as a size or a part of the whole.
	// Default: 5%.
	MinFree string `json:"min_free,omitempty"`

	// What must answer with 2xx; for upstream and http. The word off leaves the
	// check out. Placeholders such as {env.URL} are resolved when the config
	// loads.
	URL string `json:"url,omitempty"`

	// How long an answer may take. Default: 2s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Whether its failure makes the answer 503. Default: true, except for redis
	// and breakers: all gateways of a fleet see those alike, and it must not go
	// down with them.
	Needed *bool `json:"needed,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.health", New: func() caddy.Module { return new(Handler) }}
}

// Provision prepares the checks; the first probe runs them.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := gateway.RegisterMetrics(ctx, up, duration); err != nil {
		return err
	}
	h.ctx, h.logger = ctx, ctx.Logger()
	if h.Name == "" {
		h.Name = "health"
	}
	if h.Live && len(h.Checks) > 0 {
		return fmt.Errorf("health %s: live goes without checks, got %d", h.Name, len(h.Checks))
	}
	app, err := gateway.From(ctx)
	if err != nil {
		return err
	}
	if err := h.prepare(app); err != nil {
		return fmt.Errorf("health %s: %w", h.Name, err)
	}
	if err := h.provisionDetails(ctx); err != nil {
		return fmt.Errorf("health %s: details %q: %w", h.Name, h.Details, err)
	}
	return register(app, h)
}

func (h *Handler) provisionDetails(ctx caddy.Context) error {
	ranges := h.Details
	if len(ranges) == 0 {
		ranges = []string{"127.0.0.0/8", "::1/128"}
	}
	h.allowed = &caddyhttp.MatchClientIP{Ranges: ranges}
	return h.allowed.Provision(ctx)
}

// Cleanup closes the connections of the checks.
func (h *Handler) Cleanup() error {
	for _, c := range h.clients {
		c.close()
	}
	return nil
}

// ServeHTTP answers the probe.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return gateway.Fail(r, http.StatusMethodNotAllowed, "Method not allowed", nil,
			fmt.Errorf("method %s on a health endpoint", r.Method))
	}
	switch {
	case h.Live:
		return answer(w, r, http.StatusOK, newReport("ok"))
	case draining(r):
		return answer(w, r, http.StatusServiceUnavailable, newReport("draining"))
	}
	found := results(r.Context(), h.ctx, h.checks)
	detailed, err := h.allowed.MatchWithError(r)
	rep := summarize(h.checks, found, detailed && err == nil)
	status := http.StatusOK
	if rep.Status == "unavailable" {
		status = http.StatusServiceUnavailable
	}
	return answer(w, r, status, rep)
}

// draining tells whether the server has announced its end.
func draining(r *http.Request) bool {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return false
	}
	if s, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); !ok || s == nil {
		return false
	}
	v, _ := repl.Get("http.shutting_down")
	stopping, _ := v.(bool)
	return stopping
}

// note records the outcome of a run, and logs when it differs from the one before.
func (h *Handler) note(c *check, o outcome) {
	value := 0.0
	if o.healthy {
		value = 1
	}
	up.WithLabelValues(c.name).Set(value)
	duration.WithLabelValues(c.name).Observe(o.latency.Seconds())
	switch changed, was := c.changes(o.healthy); {
	case !changed:
	case !o.healthy:
		h.logger.Warn("check fails", zap.String("check", c.name), zap.Bool("needed", c.needed),
			zap.Duration("latency", o.latency), zap.Error(o.err))
	case was:
		h.logger.Info("check passes again", zap.String("check", c.name), zap.Duration("latency", o.latency))
	}
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

package edge

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(CORS))
}

// DefaultCORSMethods are allowed unless the config names others.
var DefaultCORSMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// DefaultCORSMaxAge is how long a browser may remember a preflight.
const DefaultCORSMaxAge = 10 * time.Minute

// CORS says to browsers which pages may read responses (Fetch, "CORS
// protocol"). It answers preflights itself, before authentication and limits,
// because browsers send those without credentials; and it has the last word:
// what an upstream says about CORS is replaced.
//
// It is no access control: it protects users of browsers, not the upstream.
type CORS struct {
	// The pages that may read responses: scheme://host, scheme://host:port,
	// scheme://*.host for all hosts below, or * for all. Required.
	Origins []string `json:"origins"`

	// The methods that pages may use. Default: GET, HEAD, POST, PUT, PATCH,
	// DELETE.
	Methods []string `json:"methods,omitempty"`

	// The request headers that pages may send beside the harmless ones, or * for
	// all. Default: Authorization and Content-Type.
	Headers []string `json:"headers,omitempty"`

	// The response headers that pages may read beside the harmless ones.
	// Default: none.
	Expose []string `json:"expose,omitempty"`

	// Lets pages send cookies and read what comes back. It cannot stand with
	// origins *. Default: false.
	Credentials bool `json:"credentials,omitempty"`

	// How long a browser may remember what is allowed. Default: 10m.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	origins    origins
	methods    []string // header values, ready to be used
	headers    []string
	expose     []string
	maxAge     []string
	anyHeaders bool
}

// CaddyModule returns the Caddy module information.
func (*CORS) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.cors", New: func() caddy.Module { return new(CORS) }}
}

// Provision checks the options and prepares the headers.
func (c *CORS) Provision(ctx caddy.Context) error {
	if err := gateway.RegisterMetrics(ctx, corsRequests); err != nil {
		return err
	}
	var err error
	if c.origins, err = parseOrigins(c.Origins, c.Credentials); err != nil {
		return fmt.Errorf("cors: %w", err)
	}
	methods, headers := c.Methods, c.Headers
	if len(methods) == 0 {
		methods = DefaultCORSMethods
	}
	if len(headers) == 0 {
		headers = []string{"Authorization", "Content-Type"}
	}
	if c.MaxAge < 0 {
		return fmt.Errorf("cors: max_age must be positive, got %s", time.Duration(c.MaxAge))
	}
	c.anyHeaders = slices.Contains(headers, "*")
	lists := []struct {
		option string
		names  []string
	}{{"methods", methods}, {"headers", headers}, {"expose", c.Expose}}
	for _, list := range lists {
		for _, name := range list.names {
			if !httpguts.ValidHeaderFieldName(name) || name == "*" && list.option != "headers" {
				return fmt.Errorf("cors: %s %q: not a name", list.option, name)
			}
		}
	}
	c.methods = []string{strings.Join(methods, ", ")}
	c.headers = []string{strings.Join(headers, ", ")}
	if len(c.Expose) > 0 {
		c.expose = []string{strings.Join(c.Expose, ", ")}
	}
	maxAge := cmp.Or(time.Duration(c.MaxAge), DefaultCORSMaxAge)
	c.maxAge = []string{strconv.Itoa(int(maxAge.Seconds()))}
	return nil
}

// ServeHTTP answers a preflight, or has the response say who may read it.
func (c *CORS) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	origin := r.Header["Origin"]
	allowed := len(origin) == 1 && c.origins.allow(origin[0])
	if r.Method == http.MethodOptions && len(origin) > 0 && r.Header["Access-Control-Request-Method"] != nil {
		return c.preflight(w, r, allowed)
	}
	if len(origin) > 0 {
		corsRequests.WithLabelValues("actual", result(allowed)).Inc()
	}
	amend := func(h http.Header) { c.amend(h, origin, allowed) }
	amend(w.Header()) // for an error, which is answered elsewhere
	return next.ServeHTTP(newHeadWriter(w, amend), r)
}

func (c *CORS) preflight(w http.ResponseWriter, r *http.Request, allowed bool) error {
	corsRequests.WithLabelValues("preflight", result(allowed)).Inc()
	h := w.Header()
	h["Vary"] = append(h["Vary"], "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	if !allowed {
		return gateway.Fail(r, http.StatusForbidden, "Origin not allowed", nil,
			fmt.Errorf("origin %.100q is not among the allowed", r.Header["Origin"]))
	}
	c.amend(h, r.Header["Origin"], true)
	delete(h, "Access-Control-Expose-Headers")
	h["Access-Control-Allow-Methods"] = c.methods
	h["Access-Control-Allow-Headers"] = c.headers
	if c.anyHeaders {
		h["Access-Control-Allow-Headers"] = requestedHeaders(r.Header)
	}
	h["Access-Control-Max-Age"] = c.maxAge
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// requestedHeaders repeats the names that a preflight asks for. A literal *
// would not cover Authorization, nor anything with credentials.
func requestedHeaders(h http.Header) []string {
	asked := strings.Join(h["Access-Control-Request-Headers"], ",")
	var names []string
	for name := range strings.SplitSeq(asked[:min(len(asked), 1024)], ",") {
		if name = strings.TrimSpace(name); httpguts.ValidHeaderFieldName(name) {
			names = append(names, name)
		}
	}
	if names == nil {
		return nil
	}
	return []string{strings.Join(names, ", ")}
}

// amend makes a response header say what this config says, whoever said what
// before.
func (c *CORS) amend(h http.Header, origin []string, allowed bool) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	if c.origins.any {
		h["Access-Control-Allow-Origin"] = []string{"*"}
	} else {
		varyByOrigin(h)
		if !allowed {
			return
		}
		h["Access-Control-Allow-Origin"] = origin
		if c.Credentials {
			h["Access-Control-Allow-Credentials"] = []string{"true"}
		}
	}
	if c.expose != nil {
		h["Access-Control-Expose-Headers"] = c.expose
	}
}

// varyByOrigin keeps caches from giving one origin's response to another.
func varyByOrigin(h http.Header) {
	for _, v := range h["Vary"] {
		for name := range strings.SplitSeq(v, ",") {
			if n := strings.TrimSpace(name); n == "*" || strings.EqualFold(n, "Origin") {
				return
			}
		}
	}
	h["Vary"] = append(h["Vary"], "Origin")
}

func result(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "not_allowed"
}

var (
	_ caddy.Provisioner           = (*CORS)(nil)
	_ caddyhttp.MiddlewareHandler = (*CORS)(nil)
)

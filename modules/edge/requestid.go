// Package edge holds what happens at the very edge of the gateway, before
// anything is decided about a request.
//
//	request_id
//
// gives every request an id that the log, the upstream and the client see, so
// that what one of them reports can be found with the others. It comes first of
// all, so that every refusal has one.
//
// An id is a label, not a secret and not a promise: a client may send the same
// one twice through a proxy that is trusted.
package edge

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(RequestID))
}

const (
	// DefaultHeader carries the id unless the config names another.
	DefaultHeader = "X-Request-ID"

	// maxRequestID bounds an id that a trusted proxy sent, in bytes.
	maxRequestID = 128

	// varRequestID makes the id {http.vars.request_id}; problem reads it.
	varRequestID = "request_id"
)

// RequestID gives every request an id: the one it came with if it came from a
// trusted proxy, else a new UUID of version 7 (RFC 9562), which sorts by time.
type RequestID struct {
	// The header that carries the id in, to the upstream, and back.
	// Default: X-Request-ID.
	Header string `json:"header,omitempty"`

	// The addresses of peers whose ids are taken, as IPs or CIDR ranges.
	// Default: the server's trusted_proxies, of which there are none unless
	// configured.
	Trust []string `json:"trust,omitempty"`

	name    string // Header in canonical form
	trusted *caddyhttp.MatchRemoteIP
}

// CaddyModule returns the Caddy module information.
func (*RequestID) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.request_id", New: func() caddy.Module { return new(RequestID) }}
}

// Provision checks the header and the ranges.
func (h *RequestID) Provision(ctx caddy.Context) error {
	if err := gateway.RegisterMetrics(ctx, requestIDs); err != nil {
		return err
	}
	header := h.Header
	if header == "" {
		header = DefaultHeader
	}
	if !httpguts.ValidHeaderFieldName(header) {
		return fmt.Errorf("request_id: header %q: not a field name", h.Header)
	}
	h.name = http.CanonicalHeaderKey(header)
	if len(h.Trust) == 0 {
		return nil
	}
	h.trusted = &caddyhttp.MatchRemoteIP{Ranges: h.Trust}
	if err := h.trusted.Provision(ctx); err != nil {
		return fmt.Errorf("request_id: trust %q: %w", h.Trust, err)
	}
	return nil
}

// ServeHTTP puts the id on the request and on the response.
func (h *RequestID) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	id, counter := h.given(r), requestIDsTaken
	if id == "" {
		id, counter = newID(time.Now()), requestIDsMade
	}
	counter.Inc()

	sw := &stampWriter{name: h.name, id: id, values: [2]string{id, id}}
	sw.headWriter = headWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, amender: sw}
	denominate(r.Header, h.name)
	r.Header[h.name] = sw.values[:1:1]
	caddyhttp.SetVar(r.Context(), varRequestID, id)
	gateway.LogField(r, zap.String("request_id", id))

	sw.amend(w.Header()) // for an error, which is answered elsewhere
	err := next.ServeHTTP(sw, r)
	traceRequest(r, id, err)
	return err
}

// denominate takes a field out of Connection, where a client could nominate it for
// removal on the way to the upstream (RFC 9110, 7.6.1).
func denominate(h http.Header, name string) {
	if !httpguts.HeaderValuesContainsToken(h["Connection"], name) {
		return
	}
	var kept []string
	for token := range strings.SplitSeq(strings.Join(h["Connection"], ","), ",") {
		if token = strings.TrimSpace(token); token != "" && !strings.EqualFold(token, name) {
			kept = append(kept, token)
		}
	}
	delete(h, "Connection")
	if len(kept) > 0 {
		h["Connection"] = []string{strings.Join(kept, ", ")}
	}
}

// stampWriter overrules an upstream that sends the header too, and a stored
// response that has another request's. It is one allocation with all it needs.
type stampWriter struct {
	headWriter
	name   string
	id     string
	values [2]string // of the request's header, and of the response's
}

func (w *stampWriter) amend(header http.Header) {
	w.values[1] = w.id
	header[w.name] = w.values[1:]
}

// traceRequest leaves on the request's own span what Caddy does not: the id, and
// the error that the request ends in. Error routes run when the span is over, so
// that its own status is 200 then.
func traceRequest(r *http.Request, id string, err error) {
	span := gateway.CurrentSpan(r.Context())
	if !span.On() {
		return
	}
	span.String("fairway.request_id", id)
	if err == nil {
		return
	}
	status := gateway.StatusOf(err)
	span.Int("fairway.status", status)
	code, _ := caddyhttp.GetVar(r.Context(), gateway.VarError).(string)
	span.String("fairway.error", code)
	if status >= http.StatusInternalServerError {
		span.Fail(http.StatusText(status))
	}
}

// given returns the id that the request came with if it may be taken.
func (h *RequestID) given(r *http.Request) string {
	values := r.Header[h.name]
	if len(values) != 1 || !validID(values[0]) || !h.trusts(r) {
		return ""
	}
	return values[0]
}

func (h *RequestID) trusts(r *http.Request) bool {
	if h.trusted == nil {
		byServer, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
		return byServer
	}
	ok, err := h.trusted.MatchWithError(r)
	return ok && err == nil
}

// validID accepts what is safe in headers, logs and pages alike.
func validID(s string) bool {
	if s == "" || len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		case c == '-' || c == '_' || c == '.' || c == ':' || c == '+' || c == '/' || c == '=' || c == '~':
		default:
			return false
		}
	}
	return true
}

var (
	_ caddy.Provisioner           = (*RequestID)(nil)
	_ caddyhttp.MiddlewareHandler = (*RequestID)(nil)
)

// Package validate stops bad requests at the gateway and names everything that
// is wrong with them at once.
//
//	validate /api/auth/register {
//		schema        schemas/register.json
//		strip_unknown
//		max_body      1MiB
//	}
//
// A body is read as a whole by a strict reader, so that no two readers can
// understand it differently, and checked against a JSON Schema that was
// compiled when the config was loaded. What goes to the upstream is exactly
// what was checked.
//
// It does not validate responses, and it does not decode compressed bodies:
// those are refused with 415.
package validate

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// DefaultMaxBody is the largest body in bytes unless the config says otherwise.
const DefaultMaxBody = 1 << 20

// DefaultReadTimeout is how long a body may take to arrive.
const DefaultReadTimeout = 30 * time.Second

// Handler checks requests before they go on.
type Handler struct {
	// The JSON Schema that bodies must satisfy: a file, relative to the
	// directory in which the gateway was started. Placeholders such as
	// {env.SCHEMAS} are resolved when the config loads. Required.
	Schema string `json:"schema,omitempty"`

	// Removes members that the schema does not declare before the request goes
	// on. Nothing is removed where alternatives (oneOf, anyOf) decide, nor where
	// the schema speaks of additionalProperties itself. Default: false.
	StripUnknown bool `json:"strip_unknown,omitempty"`

	// Adds members that are missing but have a default in the schema.
	// Default: false.
	FillDefaults bool `json:"fill_defaults,omitempty"`

	// The largest body in bytes; more is 413. Default: 1 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// How long the body may take to arrive; longer is 408. Default: 30s.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`

	// What a document may hold within that size; more is 400.
	Limits Limits `json:"limits,omitzero"`

	reader bodyReader
	body   *bodyValidator
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.validate", New: func() caddy.Module { return new(Handler) }}
}

// Provision compiles the schema.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := gateway.RegisterMetrics(ctx, collectors()...); err != nil {
		return err
	}
	if err := h.checkOptions(); err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	h.reader = bodyReader{max: h.MaxBody, timeout: time.Duration(h.ReadTimeout)}
	if h.reader.max == 0 {
		h.reader.max = DefaultMaxBody
	}
	if h.reader.timeout == 0 {
		h.reader.timeout = DefaultReadTimeout
	}
	file, err := caddy.NewReplacer().ReplaceOrErr(h.Schema, true, true)
	if err != nil {
		return fmt.Errorf("validate: schema %q: %w", h.Schema, err)
	}
	schema, err := loadSchema(file)
	if err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	h.body = &bodyValidator{
		schema: schema, limits: h.Limits.withDefaults(),
		rewrite: newRewriter(schema, h.StripUnknown, h.FillDefaults),
	}
	return nil
}

func (h *Handler) checkOptions() error {
	if h.Schema == "" {
		return errors.New("schema is missing")
	}
	if h.MaxBody < 0 {
		return fmt.Errorf("max_body must be positive, got %d", h.MaxBody)
	}
	if h.ReadTimeout < 0 {
		return fmt.Errorf("read_timeout must be positive, got %s", time.Duration(h.ReadTimeout))
	}
	return h.Limits.validate()
}

// ServeHTTP passes a valid request on and refuses any other.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	start := time.Now()
	outcome, refused := h.check(w, r)
	requests.WithLabelValues(outcome).Inc()
	if outcome != "skipped" {
		duration.Observe(time.Since(start).Seconds())
	}
	if refused != nil {
		return gateway.Fail(r, refused.status, refused.code, details(refused.issues), refused)
	}
	return next.ServeHTTP(w, r)
}

// check reads and validates the body and puts what was validated in its place.
func (h *Handler) check(w http.ResponseWriter, r *http.Request) (outcome string, refused *refusal) {
	body, refused := h.receive(w, r)
	if refused != nil {
		return refused.outcome, refused
	}
	if len(body) == 0 {
		return h.withoutBody(r)
	}
	done, err := turn(r.Context(), len(body))
	if err != nil {
		refused := invalid("malformed", Issue{Message: "was abandoned by the client"})
		return refused.outcome, refused
	}
	out, changed, issues, isMalformed := h.body.validate(body)
	done()
	switch {
	case isMalformed:
		return "malformed", invalid("malformed", issues...)
	case issues != nil:
		return "invalid", invalid("invalid", issues...)
	}
	replaceBody(r, out, changed)
	if changed {
		return "changed", nil
	}
	return "passed", nil
}

// receive returns the body, nil if there is none. Of a body whose length was not
// declared nobody knows before reading whether it is there: over HTTP/3 that
// holds for every GET.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if !hasBody(r) {
		return nil, nil
	}
	if r.ContentLength > 0 {
		if refused := jsonType(w, r.Header); refused != nil {
			return nil, refused
		}
		return h.reader.read(w, r)
	}
	body, refused := h.reader.read(w, r)
	if refused != nil || len(body) == 0 {
		return nil, refused
	}
	return body, jsonType(w, r.Header)
}

// withoutBody passes a request whose method does without a body.
func (h *Handler) withoutBody(r *http.Request) (string, *refusal) {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return "invalid", invalid("invalid", Issue{Message: "is required"})
	}
	return "skipped", nil
}

func details(issues []Issue) []gateway.Detail {
	ds := make([]gateway.Detail, len(issues))
	for i, issue := range issues {
		ds[i] = gateway.Detail(issue)
	}
	return ds
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

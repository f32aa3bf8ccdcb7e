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
// Responses are only watched (responses shadow), never changed. Compressed bodies
// are not decoded: in requests they are refused with 415.
package validate

import (
	"cmp"
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
	// {env.SCHEMAS} are resolved when the config loads. Either this or openapi
	// is required.
	Schema string `json:"schema,omitempty"`

	// The OpenAPI document that requests must satisfy.
	OpenAPI *OpenAPI `json:"openapi,omitempty"`

	// Removes members that the schema does not declare before the request goes
	// on. Nothing is removed where alternatives (oneOf, anyOf) decide, nor where
	// the schema speaks of additionalProperties itself. Default: false.
	StripUnknown bool `json:"strip_unknown,omitempty"`

	// Adds members, form fields and parameters that are missing but have a default
	// in the schema. Default: false.
	FillDefaults bool `json:"fill_defaults,omitempty"`

	// The largest body in bytes; more is 413. Default: 1 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// How long the body may take to arrive; longer is 408. Default: 30s.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`

	// What a document may hold within that size; more is 400.
	Limits Limits `json:"limits,omitzero"`

	reader bodyReader
	fixed  *operation // what a schema makes of every request
	source *source    // where operations come from otherwise
	shadow *shadow    // nil if responses are not checked
}

// OpenAPI says which document describes the requests, and what happens to those
// it does not describe.
type OpenAPI struct {
	// A file, in JSON or YAML, or an http or https URL. A file must be good for
	// the config to load. A URL is fetched in the background, and the last good
	// document stays in use. Placeholders are resolved when the config loads.
	Document string `json:"document"`

	// How often a URL is asked again. Default: 1m.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// The path at which the document's paths begin, such as /v1. Default: the
	// paths of the document's servers.
	BasePath string `json:"base_path,omitempty"`

	// What happens as long as a URL has never given a document: refuse (503)
	// or pass. Default: refuse.
	OnMissing string `json:"on_missing,omitempty"`

	// What happens to requests that the document does not describe: refuse
	// (404 for the path, 405 for the method) or pass. Default: pass.
	OnUnknown string `json:"on_unknown,omitempty"`

	// What happens to requests whose path another server could read as an
	// operation of the document that it is not written as, such as /Orders,
	// /orders/ or /x/..%2Forders: refuse (400), or pass, which takes them as
	// they are written. Default: refuse.
	OnAmbiguous string `json:"on_ambiguous,omitempty"`

	// Operations that are not checked, by operationId or as "POST /users".
	Skip []string `json:"skip,omitempty"`

	// Whether responses are compared with the document: shadow counts and logs
	// those that differ, and changes none. Default: empty, they are not.
	Responses string `json:"responses,omitempty"`

	// The largest response in bytes that is checked; at most 64 MiB. That much
	// of it is held until then. Default: 1 MiB.
	MaxResponse int64 `json:"max_response,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.validate", New: func() caddy.Module { return new(Handler) }}
}

// Provision compiles the schema or the document. It does not wait for a URL.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := gateway.RegisterMetrics(ctx, collectors()...); err != nil {
		return err
	}
	if err := h.checkOptions(); err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	h.reader = bodyReader{
		max:     cmp.Or(h.MaxBody, DefaultMaxBody),
		timeout: cmp.Or(time.Duration(h.ReadTimeout), DefaultReadTimeout),
	}
	if h.OpenAPI != nil {
		if err := h.openSource(ctx); err != nil {
			return fmt.Errorf("validate: openapi %q: %w", h.OpenAPI.Document, err)
		}
		return nil
	}
	file, err := caddy.NewReplacer().ReplaceOrErr(h.Schema, true, true)
	if err != nil {
		return fmt.Errorf("validate: schema %q: %w", h.Schema, err)
	}
	schema, err := loadSchema(file)
	if err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	h.fixed = &operation{id: file, body: &requestBody{byMethod: true, types: []*bodyType{{
		media: "application/json", anyJSON: true,
		json: newBodyValidator(schema, newRuleBuilder(), h.Limits.withDefaults(), newRewriter(h.StripUnknown, h.FillDefaults)),
	}}}}
	return nil
}

func (h *Handler) checkOptions() error {
	if h.Schema == "" && h.OpenAPI == nil {
		return errors.New("schema or openapi is missing")
	}
	if h.Schema != "" && h.OpenAPI != nil {
		return fmt.Errorf("schema %q and openapi %q exclude each other", h.Schema, h.OpenAPI.Document)
	}
	if h.MaxBody < 0 {
		return fmt.Errorf("max_body must be positive, got %d", h.MaxBody)
	}
	if h.ReadTimeout < 0 {
		return fmt.Errorf("read_timeout must be positive, got %s", time.Duration(h.ReadTimeout))
	}
	return h.Limits.validate()
}

// Cleanup gives the document back.
func (h *Handler) Cleanup() error {
	if h.source == nil {
		return nil
	}
	return h.source.release()
}

// ServeHTTP passes a valid request on and refuses any other.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	start := time.Now()
	_, span := gateway.StartSpan(r.Context(), "validate")
	outcome, op, refused := h.check(w, r)
	span.String("fairway.validate.outcome", outcome)
	if refused != nil {
		span.Int("fairway.validate.errors", len(refused.issues))
		span.Fail(refused.code)
	}
	span.End()
	requests.WithLabelValues(outcome).Inc()
	duration.Observe(time.Since(start).Seconds())
	if refused != nil {
		return gateway.Fail(r, refused.status, refused.code, details(refused.issues), refused)
	}
	if h.shadow != nil && op != nil {
		return h.shadow.serve(w, r, next, op.responses)
	}
	return next.ServeHTTP(w, r)
}

// check finds out what the request should be and whether it is. op is nil if
// nothing is known about the request.
func (h *Handler) check(w http.ResponseWriter, r *http.Request) (outcome string, op *operation, refused *refusal) {
	op = h.fixed
	var missing []*parameter
	var issues []Issue
	if h.source != nil {
		found := h.source.find(w, r)
		if found.refused != nil {
			return found.refused.outcome, nil, found.refused
		}
		if found.op == nil {
			return found.outcome, nil, nil
		}
		op = found.op
		args, malformed := newArguments(r, found.item, found.values)
		if malformed != nil {
			return "malformed", op, invalid("malformed", malformed...)
		}
		issues, missing = op.checkParams(args)
	}
	result := h.checkBody(w, r, op.body)
	if result.refused != nil {
		return result.refused.outcome, op, result.refused
	}
	issues = append(issues, result.issues...)
	if len(issues) > 0 {
		refused = invalid(cmp.Or(result.outcome, "invalid"), tidy(issues, 0)...)
		return refused.outcome, op, refused
	}
	if missing != nil {
		fill(r, missing)
		return "changed", op, nil
	}
	return result.outcome, op, nil
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
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

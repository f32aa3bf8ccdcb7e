package jwtauth

import (
	"errors"
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

// Handler lets requests pass whose token is beyond doubt, tells the rest of the
// pipeline whose it is, and refuses all others: 401 without a good token, 403
// if it does not suffice, 400 if there are several, 503 if it cannot be checked
// because no key was ever fetched.
//
// It sets the placeholders {http.auth.user.id} and {http.auth.user.<claim>}
// (with dots into nested claims); Caddy's access log takes user_id from it.
type Handler struct {
	Config

	engine *engine
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.jwt_auth",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision checks the config and takes hold of keys, cache and revocations.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	h.logger = ctx.Logger()
	if h.engine, err = newEngine(ctx, &h.Config); err != nil {
		return fmt.Errorf("jwt_auth: %w", err)
	}
	return nil
}

// Cleanup gives back what Provision took.
func (h *Handler) Cleanup() error {
	if h.engine == nil {
		return nil
	}
	return h.engine.close()
}

// ServeHTTP decides about a request and carries the decision out.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	d := h.engine.decide(r)
	if d.Reason.Status() != 0 {
		return h.refuse(w, r, &d)
	}
	h.engine.admit(r, &d)
	return next.ServeHTTP(w, r)
}

// decide strips what only we may say, decides, and waits once for a fetch of
// the key set if that may change the decision.
func (e *engine) decide(r *http.Request) Decision {
	_, span := gateway.StartSpan(r.Context(), "jwt_auth")
	e.guard.headers.strip(r)
	d := e.guard.Decide(r.Header, r.URL.RawQuery, time.Now())
	if d.Retry != nil {
		d = e.retry(r, d)
	}
	e.outcomes.count(&d)
	if span.On() {
		e.trace(span, &d)
	}
	return d
}

// trace ends the step of a request's trace that the decision was.
func (e *engine) trace(span gateway.Span, d *Decision) {
	span.String("fairway.auth.outcome", d.Reason.String())
	span.String("fairway.auth.issuer", e.issuerName(d.Issuer))
	span.Bool("fairway.auth.cached", d.Cached)
	if status := d.Reason.Status(); status != 0 {
		span.Fail(codes[status])
	}
	span.End()
}

func (e *engine) retry(r *http.Request, d Decision) Decision {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-d.Retry:
		return e.guard.Decide(r.Header, r.URL.RawQuery, time.Now())
	case <-r.Context().Done():
	case <-timer.C:
	}
	return d
}

// errRefused are the errors of all reasons, made once.
var errRefused = func() (errs [numReasons]error) {
	for reason := range numReasons {
		errs[reason] = errors.New("jwt_auth: " + reason.String())
	}
	return errs
}()

// codes are the stable codes of refusals.
var codes = map[int]string{
	http.StatusBadRequest:         "Bad request",
	http.StatusUnauthorized:       "Unauthorized",
	http.StatusForbidden:          "Forbidden",
	http.StatusServiceUnavailable: "Service unavailable",
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, d *Decision) error {
	if c := h.logger.Check(zap.DebugLevel, "request refused"); c != nil {
		c.Write(zap.Stringer("reason", d.Reason), zap.String("issuer", h.engine.issuerName(d.Issuer)))
	}
	setRefusal(w.Header(), d)
	status := d.Reason.Status()
	return gateway.Fail(r, status, codes[status], nil, errRefused[d.Reason])
}

// setRefusal sets the header fields that go with a refusal.
func setRefusal(h http.Header, d *Decision) {
	if d.Challenge != "" {
		h.Add("WWW-Authenticate", d.Challenge)
	}
	if d.Reason.Status() == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfter)
	}
}

// retryAfter is when a client may ask again after a 503, in seconds.
const retryAfter = "5"

func (e *engine) issuerName(at int) string {
	if at < 0 {
		return ""
	}
	return e.guard.verifier.issuers[at].name
}

// admit tells the upstream and the other handlers who is calling.
func (e *engine) admit(r *http.Request, d *Decision) {
	if d.Caller == nil {
		return
	}
	e.guard.headers.set(r.Header, d.Values)
	if d.Source.In == "query" {
		d.Caller.Identity.QueryParam = d.Source.Name
	}
	caddyhttp.SetVar(r.Context(), gateway.VarIdentity, &d.Caller.Identity)
	setPlaceholders(r, d.Caller, e.config.Placeholders)
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

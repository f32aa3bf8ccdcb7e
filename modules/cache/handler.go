package cache

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

var (
	errOnlyIfCached = errors.New("the request wants only what is stored (only-if-cached)")
	errNotAbsolute  = errors.New("not an absolute URL")
)

// ServeHTTP answers from the cache or through it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.started.Do(h.start)
	if ctx, span := gateway.StartSpan(r.Context(), "cache"); span.On() {
		defer endSpan(ctx, span)
		r = r.WithContext(ctx)
	}
	return h.serve(w, r, next)
}

// endSpan ends the step of a request's trace in which the cache answered or
// had others answer.
func endSpan(ctx context.Context, span gateway.Span) {
	outcome, _ := caddyhttp.GetVar(ctx, gateway.VarCacheStatus).(string)
	span.String("fairway.cache.outcome", outcome)
	span.End()
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Header["Upgrade"] != nil || r.Method == http.MethodConnect {
		return next.ServeHTTP(w, r)
	}
	if !safe(r.Method) {
		return h.change(w, r, next)
	}
	if !h.caches(r.Method) {
		return h.bypass(w, r, next, WhyMethod)
	}
	if !addressed(r) || preconditioned(r.Header) || r.Method != methodQuery && r.ContentLength != 0 {
		// RFC 9110, 9.3.1: the body of a GET has no meaning, but some origins
		// give it one, and it is not part of the key
		return h.bypass(w, r, next, WhyBypass)
	}
	if past, err := h.bypassed(r); err != nil {
		return err
	} else if past {
		return h.bypass(w, r, next, WhyBypass)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return h.newExchange(w, r, next).serveCached()
	case methodQuery:
		return h.query(w, r, next)
	}
	return h.bypass(w, r, next, WhyMethod)
}

// addressed tells whether a request names what it wants by a path: "*" and
// opaque URIs, such as "a:b", are in no key.
func addressed(r *http.Request) bool {
	return r.URL.Opaque == "" && (r.URL.Path == "" || r.URL.Path[0] == '/')
}

func (h *Handler) bypassed(r *http.Request) (bool, error) {
	if len(h.bypasses) == 0 {
		return false, nil
	}
	return h.bypasses.AnyMatchWithError(r)
}

// safe lists the methods that change nothing; all others may, known or not.
// RFC 9111, 4.4; RFC 9110, 9.2.1.
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, methodQuery, "PROPFIND", "REPORT", "SEARCH":
		return true
	}
	return false
}

// scope is the server that a request came in by, so that what a client says in
// Host cannot lead to what another server has stored.
type scope struct {
	server *caddyhttp.Server
	name   string
}

func (h *Handler) scope(ctx context.Context) string {
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil {
		return ""
	}
	if s := h.lastScope.Load(); s != nil && s.server == server {
		return s.name
	}
	s := &scope{server, server.Name()}
	h.lastScope.Store(s)
	return s.name
}

// caches tells whether responses to a method are stored.
func (h *Handler) caches(method string) bool {
	return len(h.Methods) == 0 || slices.Contains(h.Methods, method) ||
		method == http.MethodHead && slices.Contains(h.Methods, http.MethodGet)
}

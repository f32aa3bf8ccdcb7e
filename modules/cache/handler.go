// Package cache is Fairway's response cache: RFC 9111 as a shared cache, with
// one copy of a response in this process and, with Redis, one for the fleet.
//
//	cache {
//		ttl 30s
//		stale_while_revalidate 30s
//		stale_if_error 10m
//		max_size 256MiB
//	}
//
// Whether a stored response answers a request is decided by one pure function,
// Decide; what is stored, by Rules.Admit. Requests that want the same thing at
// the same time become one request to the origin, but only what may be stored
// and reused is ever shared. A response is streamed to its client while it is
// stored. What is stored outlives reloads of the config.
//
// It does not promise to keep anything: an entry may go at any time. And it
// does not make a personal response cacheable: an origin that says nothing
// about a response to a user's request gets every such request.
package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler is the response cache.
type Handler struct {
	// Name of the cache: caches of one name share what they store, also over
	// reloads. Give different names where one URL has different content, such
	// as in routes told apart by a header. Default: "default".
	Name string `json:"name,omitempty"`

	// How long to reuse responses that say nothing about it themselves, if their
	// status allows that (RFC 9110, 15.1) and the request carries no
	// credentials or cookies. Default: 0, which leaves it to the heuristics of
	// RFC 9111, 4.2.2.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// How long after it expired a response may answer while a new one is
	// fetched, where the response says nothing itself. Default: 0, never.
	StaleWhileRevalidate caddy.Duration `json:"stale_while_revalidate,omitempty"`

	// How long after it expired a response may answer if the origin fails or
	// answers 500, 502, 503 or 504, where the response says nothing itself.
	// Default: 0, never.
	StaleIfError caddy.Duration `json:"stale_if_error,omitempty"`

	// How long after it expired a response may answer while the origin cannot
	// be reached at all, as RFC 9111, 4.2.4 allows. Default: 1m; negative: never.
	StaleIfDisconnected caddy.Duration `json:"stale_if_disconnected,omitempty"`

	// The size in bytes of what is kept in memory. Default: 128 MiB.
	MaxSize int64 `json:"max_size,omitempty"`

	// The size in bytes of the largest body that is stored. Default: 16 MiB, or
	// max_size if that is less.
	MaxBody int64 `json:"max_body,omitempty"`

	// How many variants of one URL are kept. Default: 64.
	VaryLimit int `json:"vary_limit,omitempty"`

	// Whether authenticated users share responses that say `public`, `s-maxage`
	// or `must-revalidate`. Default: false, each user has their own.
	Shared bool `json:"shared,omitempty"`

	// What requests must have in common to share a response, beside scheme,
	// host, path, query and user.
	Key *Key `json:"key,omitempty"`

	// Requests that go past the cache.
	BypassRaw caddyhttp.RawMatcherSets `json:"bypass,omitempty" caddy:"namespace=http.matchers"`

	// Methods whose responses are stored: GET (which stands for HEAD too), POST
	// and QUERY. Default: all three, under the rules of HTTP.
	Methods []string `json:"methods,omitempty"`

	// The only status codes that are stored. Default: all that RFC 9111 allows.
	Statuses []int `json:"statuses,omitempty"`

	// Whether to take no notice of Cache-Control and Pragma in requests. This
	// breaks RFC 9111, 5.2.1. Default: false.
	IgnoreRequestControl bool `json:"ignore_request_control,omitempty"`

	// How long responses that may be stored are fresh, whatever they say of it
	// themselves. This breaks RFC 9111, 4.2.1. Default: 0, as they say.
	ForceTTL caddy.Duration `json:"force_ttl,omitempty"`

	// Whether to store responses with Set-Cookie, and to send the cookie to
	// everybody who gets them. Default: false.
	StoreSetCookie bool `json:"store_set_cookie,omitempty"`

	// How long a request waits for the head of another's response to the same
	// URL before it goes to the origin itself. Default: 5s; negative: not at all.
	CollapseWait caddy.Duration `json:"collapse_wait,omitempty"`

	// How long after a collapse that came to nothing requests for the same thing
	// do not wait for each other. Default: 5s.
	HitForMiss caddy.Duration `json:"hit_for_miss,omitempty"`

	// How long a response is still fetched for the cache after its client left.
	// Default: 30s.
	FillTimeout caddy.Duration `json:"fill_timeout,omitempty"`

	// A response field whose comma-separated values are tags for purges, beside
	// Cache-Groups, Cache-Tag and Surrogate-Key.
	TagsHeader string `json:"tags_header,omitempty"`

	// What is kept in Redis. Without a `redis` line of the fairway app nothing is.
	L2 *L2 `json:"l2,omitempty"`

	name            string // as in Cache-Status
	rules           Rules
	keys            KeyRules
	store           *Store
	remote          *remote // nil without Redis
	remoteKey       remoteKey
	statusCollapsed []string
	statusForwarded [len(whyText)]map[bool][]string // by whether it is stored
	bypasses        caddyhttp.MatcherSets
	lastScope       atomic.Pointer[scope]
	started         sync.Once
	refreshes       chan struct{}
	logger          *zap.Logger
}

// Key says what requests must have in common to share a response.
type Key struct {
	// Values with placeholders, such as {http.auth.user.tenant}.
	Values []string `json:"values,omitempty"`

	// Headers and Cookies whose values count.
	Headers []string `json:"headers,omitempty"`
	Cookies []string `json:"cookies,omitempty"`

	// QueryOnly are the only query parameters that count; QueryWithout are those
	// that do not. At most one of both.
	QueryOnly    []string `json:"query_only,omitempty"`
	QueryWithout []string `json:"query_without,omitempty"`

	// SortQuery makes the order of query parameters irrelevant.
	SortQuery bool `json:"sort_query,omitempty"`

	// IgnoreQuery and IgnoreHost leave them out altogether.
	IgnoreQuery bool `json:"ignore_query,omitempty"`
	IgnoreHost  bool `json:"ignore_host,omitempty"`
}

// L2 is what a cache keeps in Redis.
type L2 struct {
	// Off keeps this cache out of Redis.
	Off bool `json:"off,omitempty"`

	// The longest that an entry stays in Redis. Default: 1h.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// The size in bytes of the largest body that goes to Redis. Default: 1 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// How long a request waits for the response that another gateway of the
	// fleet fetches. Default: 0, not at all: each gateway asks for itself.
	Lock caddy.Duration `json:"lock,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.cache", New: func() caddy.Module { return new(Handler) }}
}

// Defaults.
const (
	defaultName         = "default"
	defaultMaxSize      = 128 << 20
	defaultMaxBody      = 16 << 20
	defaultVaryLimit    = 64
	defaultDisconnected = time.Minute
	defaultCollapseWait = 5 * time.Second
	defaultHitForMiss   = 5 * time.Second
	defaultFillTimeout  = 30 * time.Second
	defaultL2TTL        = time.Hour
	defaultL2MaxBody    = 1 << 20

	// maxRefreshes bounds how many responses are refreshed in the background at
	// once.
	maxRefreshes = 256

	// statusName is how Cache-Status names this cache.
	statusName = "Fairway"
)

var (
	errOnlyIfCached = errors.New("the request wants only what is stored (only-if-cached)")
	errNotAbsolute  = errors.New("not an absolute URL")
)

// Provision takes hold of the store and, if there is one, of Redis.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.setDefaults()
	if err := h.Validate(); err != nil {
		return err
	}
	h.setRules()
	if err := h.loadBypass(ctx); err != nil {
		return err
	}
	if err := gateway.RegisterMetrics(ctx, collectors()...); err != nil {
		return err
	}
	app, err := gateway.From(ctx)
	if err != nil {
		return err
	}
	if err := h.agree(app); err != nil {
		return err
	}
	if h.store, err = openStore(h.Name, uint64(h.MaxSize)); err != nil {
		return err
	}
	if redis := app.Redis(); redis != nil && !h.L2.Off {
		if h.remoteKey, h.remote, err = openRemote(h, redis, app.NodeID()); err != nil {
			return err
		}
	}
	return app.Register(newPart(h, app))
}

// agree refuses a config in which caches of one name differ in size: they are
// one store.
func (h *Handler) agree(app *gateway.App) error {
	for _, other := range app.Parts() {
		p, ok := other.(*part)
		if ok && p.h.Name == h.Name && p.h.MaxSize != h.MaxSize {
			return fmt.Errorf("cache %q: max_size is %d here and %d in another cache of that name", h.Name, h.MaxSize, p.h.MaxSize)
		}
	}
	return nil
}

func (h *Handler) setDefaults() {
	setDefault(&h.Name, defaultName)
	setDefault(&h.MaxSize, defaultMaxSize)
	setDefault(&h.MaxBody, min(defaultMaxBody, h.MaxSize))
	setDefault(&h.VaryLimit, defaultVaryLimit)
	setDefault(&h.StaleIfDisconnected, caddy.Duration(defaultDisconnected))
	setDefault(&h.CollapseWait, caddy.Duration(defaultCollapseWait))
	setDefault(&h.HitForMiss, caddy.Duration(defaultHitForMiss))
	setDefault(&h.FillTimeout, caddy.Duration(defaultFillTimeout))
	if h.L2 == nil {
		h.L2 = new(L2)
	}
	if h.Key == nil {
		h.Key = new(Key)
	}
	setDefault(&h.L2.TTL, caddy.Duration(defaultL2TTL))
	setDefault(&h.L2.MaxBody, defaultL2MaxBody)
}

func setDefault[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

func (h *Handler) setRules() {
	h.name = statusName
	h.statusCollapsed = []string{h.name + "; fwd=uri-miss; collapsed"}
	for why, text := range whyText {
		fwd := h.name + "; fwd=" + text
		h.statusForwarded[why] = map[bool][]string{false: {fwd}, true: {fwd + "; stored"}}
	}
	h.refreshes = make(chan struct{}, maxRefreshes)
	h.TagsHeader = http.CanonicalHeaderKey(h.TagsHeader)
	h.rules = Rules{
		TTL:                  ms(h.TTL),
		StaleWhileRevalidate: ms(h.StaleWhileRevalidate),
		StaleIfError:         ms(h.StaleIfError),
		Disconnected:         max(0, ms(h.StaleIfDisconnected)),
		MaxBody:              h.MaxBody,
		ForceTTL:             ms(h.ForceTTL),
		SetCookie:            h.StoreSetCookie,
	}
	for _, status := range h.Statuses {
		if h.rules.Statuses == nil {
			h.rules.Statuses = make(map[int]bool)
		}
		h.rules.Statuses[status] = true
	}
	h.keys = h.Key.rules()
	h.keys.Name, h.keys.Shared = h.Name, h.Shared
}

func (k *Key) rules() KeyRules {
	rules := KeyRules{
		Cookies: k.Cookies, SortQuery: k.SortQuery, IgnoreQuery: k.IgnoreQuery, IgnoreHost: k.IgnoreHost,
		Params: set(k.QueryOnly), Without: set(k.QueryWithout),
	}
	for _, name := range k.Headers {
		rules.Headers = append(rules.Headers, http.CanonicalHeaderKey(name))
	}
	return rules
}

// set returns a set of names, or nil if there are none.
func set(names []string) map[string]bool {
	if len(names) == 0 {
		return nil
	}
	m := make(map[string]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}

func (h *Handler) loadBypass(ctx caddy.Context) error {
	if len(h.BypassRaw) == 0 {
		return nil
	}
	mods, err := ctx.LoadModule(h, "BypassRaw")
	if err != nil {
		return fmt.Errorf("cache: bypass: %w", err)
	}
	if err := h.bypasses.FromInterface(mods); err != nil {
		return fmt.Errorf("cache: bypass: %w", err)
	}
	return nil
}

// caches tells whether responses to a method are stored.
func (h *Handler) caches(method string) bool {
	return len(h.Methods) == 0 || slices.Contains(h.Methods, method) ||
		method == http.MethodHead && slices.Contains(h.Methods, http.MethodGet)
}

func ms(d caddy.Duration) int64 { return time.Duration(d).Milliseconds() }

func (h *Handler) bodyLimit() int { return int(h.MaxBody) }

// Validate checks the options.
func (h *Handler) Validate() error {
	for _, d := range []struct {
		name  string
		value caddy.Duration
	}{
		{"ttl", h.TTL},
		{"stale_while_revalidate", h.StaleWhileRevalidate},
		{"stale_if_error", h.StaleIfError},
		{"force_ttl", h.ForceTTL},
		{"hit_for_miss", h.HitForMiss},
		{"fill_timeout", h.FillTimeout},
		{"l2: ttl", h.L2.TTL},
		{"l2: lock", h.L2.Lock},
	} {
		if d.value < 0 {
			return fmt.Errorf("cache: %s must not be negative, got %s", d.name, time.Duration(d.value))
		}
	}
	switch {
	case strings.ContainsAny(h.Name, " \t\r\n{}"):
		return fmt.Errorf("cache: name must have no spaces or braces, got %q", h.Name)
	case h.MaxSize < 1<<20:
		return fmt.Errorf("cache: max_size must be at least 1MiB, got %d bytes", h.MaxSize)
	case h.MaxBody < 1 || h.MaxBody > h.MaxSize || h.MaxBody > 1<<31:
		return fmt.Errorf("cache: max_body must be between 1 byte and max_size (%d), and at most 2GiB, got %d", h.MaxSize, h.MaxBody)
	case h.VaryLimit < 1 || h.VaryLimit > 4096:
		return fmt.Errorf("cache: vary_limit must be between 1 and 4096, got %d", h.VaryLimit)
	case h.TagsHeader != "" && !isToken(h.TagsHeader):
		return fmt.Errorf("cache: tags_header is no field name: %q", h.TagsHeader)
	case h.L2.MaxBody < 1:
		return fmt.Errorf("cache: l2: max_body must be at least 1 byte, got %d", h.L2.MaxBody)
	case h.ForceTTL > 0 && h.TTL > 0:
		return errors.New("cache: ttl and force_ttl exclude each other")
	}
	return h.validateLists()
}

func (h *Handler) validateLists() error {
	for _, m := range h.Methods {
		if m != http.MethodGet && m != http.MethodPost && m != methodQuery {
			return fmt.Errorf("cache: methods: only GET, POST and QUERY can be stored, got %q", m)
		}
	}
	for _, status := range h.Statuses {
		if status < 200 || status > 599 {
			return fmt.Errorf("cache: statuses: %d is no final status code", status)
		}
	}
	for _, name := range slices.Concat(h.Key.Headers, h.Key.Cookies) {
		if !isToken(name) {
			return fmt.Errorf("cache: key: %q is no name of a header or cookie", name)
		}
	}
	k := h.Key
	if len(k.QueryOnly) > 0 && len(k.QueryWithout) > 0 || k.IgnoreQuery && (k.SortQuery || len(k.QueryOnly)+len(k.QueryWithout) > 0) {
		return errors.New("cache: key: query only, query without and query off exclude each other")
	}
	return nil
}

// Cleanup gives back what Provision took.
func (h *Handler) Cleanup() error {
	var err error
	if h.remote != nil {
		_, err = remotePool.Delete(h.remoteKey)
	}
	if h.store != nil {
		_, err2 := storePool.Delete(h.Name)
		err = errors.Join(err, err2)
	}
	return err
}

// start makes the store obey this config. It runs with its first request, since
// a config that is provisioned may still be rejected.
func (h *Handler) start() {
	h.store.memory.resize(uint64(h.MaxSize))
	if h.remote != nil {
		h.remote.ttl.Store(ms(h.L2.TTL))
	}
}

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
	if preconditioned(r.Header) || r.Method != methodQuery && r.ContentLength != 0 {
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

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

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

	// The size in bytes of the largest body that is stored. Default: 16 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// How many variants of one URL are kept. Default: 64.
	VaryLimit int `json:"vary_limit,omitempty"`

	// Whether authenticated users share responses that say `public`, `s-maxage`
	// or `must-revalidate`. Default: false, each user has their own.
	Shared bool `json:"shared,omitempty"`

	// Placeholders whose values become part of the key, such as a tenant.
	KeyExtra []string `json:"key,omitempty"`

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
	lastScope       atomic.Pointer[scope]
	started         sync.Once
	refreshes       chan struct{}
	logger          *zap.Logger
}

// L2 is what a cache keeps in Redis.
type L2 struct {
	// Off keeps this cache out of Redis.
	Off bool `json:"off,omitempty"`

	// The longest that an entry stays in Redis. Default: 1h.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// The size in bytes of the largest body that goes to Redis. Default: 1 MiB.
	MaxBody int64 `json:"max_body,omitempty"`
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
	setDefault(&h.MaxBody, defaultMaxBody)
	setDefault(&h.VaryLimit, defaultVaryLimit)
	setDefault(&h.StaleIfDisconnected, caddy.Duration(defaultDisconnected))
	setDefault(&h.CollapseWait, caddy.Duration(defaultCollapseWait))
	setDefault(&h.HitForMiss, caddy.Duration(defaultHitForMiss))
	setDefault(&h.FillTimeout, caddy.Duration(defaultFillTimeout))
	if h.L2 == nil {
		h.L2 = new(L2)
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
	h.refreshes = make(chan struct{}, maxRefreshes)
	h.TagsHeader = http.CanonicalHeaderKey(h.TagsHeader)
	h.rules = Rules{
		TTL:                  ms(h.TTL),
		StaleWhileRevalidate: ms(h.StaleWhileRevalidate),
		StaleIfError:         ms(h.StaleIfError),
		Disconnected:         max(0, ms(h.StaleIfDisconnected)),
		MaxBody:              h.MaxBody,
	}
	h.keys = KeyRules{Name: h.Name, Shared: h.Shared}
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
		{"hit_for_miss", h.HitForMiss},
		{"fill_timeout", h.FillTimeout},
		{"l2: ttl", h.L2.TTL},
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
	switch {
	case r.Header["Upgrade"] != nil || r.Method == http.MethodConnect:
		return next.ServeHTTP(w, r)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		if preconditioned(r.Header) {
			return h.bypass(w, r, next, WhyBypass)
		}
		return h.newExchange(w, r, next).serveCached()
	case safe(r.Method):
		return h.bypass(w, r, next, WhyMethod)
	}
	return h.change(w, r, next)
}

// safe lists the methods that change nothing; all others may, known or not.
// RFC 9111, 4.4; RFC 9110, 9.2.1.
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "QUERY", "PROPFIND", "REPORT", "SEARCH":
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

package cache

import (
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

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

package cache

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
)

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

func ms(d caddy.Duration) int64 { return time.Duration(d).Milliseconds() }

func (h *Handler) bodyLimit() int { return int(h.MaxBody) }

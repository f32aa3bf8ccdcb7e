package resilience

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// errHedged is the cause of a try's cancellation by a faster one.
var errHedged = errors.New("another try was faster")

// hedgeDelay returns after which time the next request is hedged; zero if it is
// not.
func (t *Transport) hedgeDelay(now time.Time) time.Duration {
	if t.hedge.quantile == 0 {
		return t.hedge.delay
	}
	return t.group.latencies.Quantile(t.hedge.quantile, now)
}

// noteLatency remembers how long a try took, if anybody wants to know.
func (t *Transport) noteLatency(took time.Duration, now time.Time) {
	if t.hedge != nil && t.hedge.quantile > 0 {
		t.group.latencies.Add(took, now)
	}
}

// race is a try and its hedges. The first good answer cancels the others. The
// first try runs in the request's own goroutine; hedges run in goroutines that
// end with their try and touch nothing of the request's that can change.
type race struct {
	t        *Transport
	req      *http.Request // as for the first try
	first    target        // of reverse_proxy's choice
	ex       exchange      // a copy: the pool, the policy and the priority
	after    time.Duration
	priority Priority

	mu      sync.Mutex
	sealed  bool // no more hedges are sent
	over    bool // no hedge can win any more
	tried   []*reverseproxy.Upstream
	cancels []context.CancelCauseFunc
	timer   *time.Timer
	running sync.WaitGroup
	sent    int
	best    *result // the hedge that won
}

// hedged makes a try and, while it has no answer, others.
func (c *call) hedged(to target, after time.Duration) result {
	h := &race{t: c.t, first: c.first, ex: *c.ex, after: after, priority: c.ex.priority, tried: slices.Clone(c.tried)}
	aimed := c.aim(to)
	ctx, cancel := context.WithCancelCause(aimed.Context())
	h.req = aimed
	first := aimed.WithContext(ctx)
	first.URL = new(url.URL) // the transport writes the scheme into it
	*first.URL = *aimed.URL
	h.cancels = append(h.cancels, cancel)
	vars := ownVars(c.req.Context())
	h.timer = time.AfterFunc(after, func() { h.launch(vars) })

	r := c.t.attempt(first, to, c.ex.priority, false)
	r = h.finish(r)
	c.ex.attempts += h.sent
	c.tried = h.tried
	return r
}

// ownVars returns the request variables that a transport reads, in a map that
// nobody else changes.
func ownVars(ctx context.Context) map[string]any {
	vars := make(map[string]any, 2)
	for _, name := range []string{proxyProtocolVar, h1OnlyVar} {
		if v := caddyhttp.GetVar(ctx, name); v != nil {
			vars[name] = v
		}
	}
	return vars
}

// launch sends a hedge, if there is an upstream and a budget for it.
func (h *race) launch(vars map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sealed || h.best != nil || h.req.Context().Err() != nil {
		return
	}
	to, ok := h.pick()
	if !ok {
		return
	}
	if !h.t.group.budget.Extra(time.Now()) {
		h.t.metrics.exhausted.Inc()
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(h.req.Context(), caddyhttp.VarsCtxKey, vars))
	h.cancels = append(h.cancels, cancel)
	h.tried = append(h.tried, to.proxy)
	h.sent++
	req := to.redirect(h.req.WithContext(ctx), h.first, h.t.ProxyProtocolEnabled())
	req.Header = h.req.Header.Clone()
	place := len(h.cancels) - 1
	h.running.Go(func() { h.run(req, to, place) })
	if h.sent < h.t.hedge.max {
		h.timer = time.AfterFunc(h.after, func() { h.launch(vars) })
	}
}

// pick returns where a hedge goes: to another upstream, or to the same where
// there is no other in the pool.
func (h *race) pick() (target, bool) {
	now := time.Now()
	if p := h.ex.policy; p != nil {
		if u := p.quietest(h.ex.pool, h.req, h.tried, now); u != nil {
			return h.t.target(h.req.Context(), u)
		}
		if len(h.ex.pool) > 1 {
			return target{}, false
		}
	}
	return h.first, h.first.u.ready(now)
}

// run makes a hedge's try, which is the one with that place among the cancels.
func (h *race) run(req *http.Request, to target, place int) {
	r := h.t.attempt(req, to, h.priority, true)
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.kind != fine || h.over || h.best != nil {
		if r.res != nil {
			r.res.Body.Close()
		}
		h.t.metrics.hedges[false].Inc()
		return
	}
	h.best = &r
	h.t.metrics.hedges[true].Inc()
	h.cancelOthers(place)
}

// cancelOthers ends all tries but the one whose context is given.
func (h *race) cancelOthers(keep int) {
	for i, cancel := range h.cancels {
		if i != keep {
			cancel(errHedged)
		}
	}
}

// finish decides between the first try, which has ended, and its hedges.
func (h *race) finish(r result) result {
	h.mu.Lock()
	h.sealed = true
	h.timer.Stop()
	if r.kind == fine || r.kind == final && h.best == nil || h.sent == 0 {
		h.over = true
		h.cancelOthers(0)
		if h.best != nil {
			h.best.res.Body.Close()
		}
		h.mu.Unlock()
		return r
	}
	h.mu.Unlock()
	h.running.Wait() // each is bounded by its own timeout and by the request
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.best == nil {
		return r
	}
	if r.res != nil {
		r.res.Body.Close()
	}
	return *h.best
}

package resilience

import (
	"errors"
	"net/http"
	"sync"
	"time"

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
	pool     reverseproxy.UpstreamPool
	policy   *Policy
	priority Priority
	bounds   bounds
	after    time.Duration

	mu      sync.Mutex
	sealed  bool // no more hedges are sent
	over    bool // no hedge can win any more
	tried   []*reverseproxy.Upstream
	tries   []*try // the first one and its hedges
	few     [2]*try
	alarm   *alarm
	running sync.WaitGroup
	sent    int
	best    *result // the hedge that won
}

// hedged makes a try and, while it has no answer, others.
func (c *call) hedged(to target, after time.Duration) result {
	ex, req := c.ex, c.aim(to)
	c.t.HTTP.SetScheme(req) // or it would be written while hedges read it
	a, h := ex.newTry(), ex.newRace()
	a.begin(c, req)
	h.t, h.req, h.first, h.after = c.t, req, c.first, after
	h.pool, h.policy, h.priority, h.bounds = ex.pool, ex.policy, ex.priority, ex.bounds
	h.tried = c.tried
	h.tries = append(h.few[:0], a)
	h.mu.Lock()
	h.alarm = setAlarm(after, h)
	h.mu.Unlock()
	r := h.finish(a.run(req, to, ex.priority, false))
	ex.attempts += h.sent
	c.tried = h.tried
	return r
}

// ring sends a hedge, if there is an upstream and a budget for it.
func (h *race) ring() {
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
	req := to.redirect(h.req, h.first, h.t.ProxyProtocolEnabled())
	req.Header = h.req.Header.Clone()
	a := new(try)
	a.vars.copy(&h.tries[0].vars)
	a.follow(req.Context(), h.t, h.bounds)
	h.tries = append(h.tries, a)
	h.tried = append(h.tried, to.proxy)
	h.sent++
	h.running.Go(func() { h.run(a, req, to) })
	if h.sent < h.t.hedge.max {
		h.alarm = setAlarm(h.after, h)
	}
}

// pick returns where a hedge goes: to another upstream, or to the same where
// there is no other in the pool.
func (h *race) pick() (target, bool) {
	now := time.Now()
	if p := h.policy; p != nil {
		if u := p.quietest(h.pool, h.req, h.tried, now); u != nil {
			return h.t.target(h.req.Context(), u)
		}
		if len(h.pool) > 1 {
			return target{}, false
		}
	}
	return h.first, h.first.u.ready(now)
}

// run makes a hedge's try.
func (h *race) run(a *try, req *http.Request, to target) {
	r := a.run(req, to, h.priority, true)
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
	h.endOthers(a)
}

// endOthers ends all tries but one.
func (h *race) endOthers(keep *try) {
	for _, a := range h.tries {
		if a != keep {
			a.end(errHedged)
		}
	}
}

// finish decides between the first try, which has ended, and its hedges.
func (h *race) finish(r result) result {
	h.mu.Lock()
	h.sealed = true
	h.alarm.stop()
	if r.kind == fine || r.kind == final && h.best == nil || h.sent == 0 {
		h.over = true
		h.endOthers(h.tries[0])
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

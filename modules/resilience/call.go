package resilience

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// kind says how a try ended.
type kind uint8

const (
	fine      kind = iota // a response that is passed on
	refused               // nothing was sent: the breaker or the bulkhead said no
	connect               // nothing was sent: no connection
	reset                 // no response: the connection broke, or worse
	timeout               // no response in time
	badStatus             // a response that may be tried again
	final                 // the client is gone or its body is broken; nothing helps
	kinds
)

func (k kind) String() string {
	return [...]string{"fine", "refused", "connect", "reset", "timeout", "status", "final"}[k]
}

// result of a try.
type result struct {
	res  *http.Response
	err  error
	kind kind
	to   target

	permit Permit // of the try; none if it was refused
}

// call is one request on its way to upstreams, which may take several tries.
// One goroutine uses it.
type call struct {
	t     *Transport
	ex    *exchange
	req   *http.Request
	vars  map[string]any // of the request
	begun time.Time
	first target
	tried []*reverseproxy.Upstream
	few   [3]*reverseproxy.Upstream // where tried begins

	// body is what a request with a body is tried again with; nil if it cannot
	// be.
	body []byte

	// watch is the body of the last try, if it cannot be sent again.
	watch *requestBody

	// again says that the method allows more than one try to reach an upstream.
	again bool
	paid  int // extra tries so far
}

// run makes tries until one is fine or no more are allowed.
func (c *call) run() (*http.Response, error) {
	c.again = c.t.retry.allows(c.req)
	c.tried = c.few[:0]
	if err := c.prepareBody(); err != nil {
		return nil, err
	}
	to, extra := c.first, false
	for {
		c.tried = append(c.tried, to.proxy)
		r := c.once(to, extra)
		if r.kind != refused {
			c.ex.attempts++
		}
		next, paid, ok := c.next(r)
		if !ok {
			c.settleFor(r)
			return r.res, r.err
		}
		if r.res != nil {
			discard(r.res)
		}
		c.ex.stick(next.cookies)
		to, extra = next, paid
	}
}

// settleFor leaves the exchange as the result that the client gets wants it.
func (c *call) settleFor(r result) {
	if refusal, ok := errors.AsType[*refusedError](r.err); ok {
		c.ex.advise(refusal.wait)
	}
	if r.to.proxy != c.first.proxy {
		r.to.show(c.req.Context())
	}
}

// prepareBody reads a body that may have to be sent again. Only those of known
// length are read in advance: others may be streams that answer each other.
func (c *call) prepareBody() error {
	if !c.again || !hasBody(c.req) || c.req.ContentLength < 0 || c.req.ContentLength > c.t.retry.buffer {
		return nil
	}
	body := &requestBody{ReadCloser: c.req.Body, client: c.ex.writer}
	defer context.AfterFunc(c.req.Context(), body.abandon)()
	buf := bytes.NewBuffer(make([]byte, 0, c.req.ContentLength+bytes.MinRead))
	if _, err := buf.ReadFrom(body); err != nil {
		return cmp.Or(body.failure(), err)
	}
	c.body = buf.Bytes()
	if c.body == nil {
		c.body = []byte{}
	}
	return nil
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// request returns the request for the next try. A body that cannot be sent
// again is watched, to know whether any of it has been read.
func (c *call) request() *http.Request {
	if !hasBody(c.req) {
		return c.req
	}
	clone := *c.req
	if c.body != nil {
		clone.Body = io.NopCloser(bytes.NewReader(c.body))
	} else {
		c.watch = &requestBody{ReadCloser: c.req.Body, client: c.ex.writer}
		clone.Body = c.watch
	}
	return &clone
}

// next decides whether and where a request is tried again. The second result
// says that the try is one of the budget's.
func (c *call) next(r result) (target, bool, bool) {
	if r.kind == fine || r.kind == final || c.req.Context().Err() != nil {
		return target{}, false, false
	}
	rules := c.t.retry
	if unsent := r.kind == refused || r.kind == connect; unsent && rules.failover {
		if to, ok := c.other(); ok {
			return to, false, true
		}
	}
	if !rules.on[r.kind] || c.paid >= rules.max || !c.again || !c.repeatable() {
		return target{}, false, false
	}
	to, elsewhere := c.other()
	if !elsewhere {
		to = r.to
	}
	wait, ok := c.backoff(r, elsewhere)
	if !ok || !to.u.ready(time.Now()) {
		return target{}, false, false
	}
	if !c.afford(r, elsewhere) {
		c.t.metrics.exhausted.Inc()
		return target{}, false, false
	}
	if !c.sleep(wait) {
		c.t.group.budget.Done(true)
		return target{}, false, false
	}
	c.paid++
	c.t.metrics.retries[r.kind].Inc()
	return to, true, true
}

// afford takes an extra try out of the budget. A request that got no answer, on
// its first try, from an upstream that has been ejected meanwhile is rescued:
// many are under way on an upstream that hangs, and they time out together.
func (c *call) afford(r result, elsewhere bool) bool {
	budget, now := c.t.group.budget, time.Now()
	if unanswered := r.kind == timeout || r.kind == reset; unanswered && elsewhere && c.paid == 0 {
		if from, ok := r.to.u.breaker.ejected(r.permit); ok {
			return budget.Rescue(from, now)
		}
	}
	return budget.Extra(now)
}

// repeatable says whether there is a whole body to send.
func (c *call) repeatable() bool { return !hasBody(c.req) || c.body != nil }

// backoff returns how long to wait before another try: a random part of an
// exponentially growing time ("full jitter"), or as long as the upstream that
// is asked again has asked for.
func (c *call) backoff(r result, elsewhere bool) (time.Duration, bool) {
	rules := c.t.retry
	wait := fullJitter(rules.backoff, rules.ceiling, c.paid)
	if r.res == nil || elsewhere {
		return wait, true
	}
	asked := askedToWait(r.res.Header.Get("Retry-After"), time.Now())
	return max(wait, asked), asked <= rules.ceiling
}

// fullJitter is a random time up to a ceiling that doubles with every retry
// before, and ends at limit.
func fullJitter(first, limit time.Duration, before int) time.Duration {
	ceiling := gateway.Doubled(first, before, limit)
	return time.Duration(rand.Uint64N(uint64(ceiling) + 1))
}

// askedToWait reads Retry-After. RFC 9110, 10.2.3: seconds or a date. Seconds
// beyond 31 bits are as good as for ever.
func askedToWait(value string, now time.Time) time.Duration {
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// sleep waits, unless the request ends before.
func (c *call) sleep(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.req.Context().Done():
		return false
	}
}

// other returns an upstream that has not been tried and would not refuse, if
// `lb_policy resilient` has left the pool and such an upstream is there. A body
// that has been read in part keeps the request from going anywhere.
func (c *call) other() (target, bool) {
	if c.ex.policy == nil || !c.unread() {
		return target{}, false
	}
	u, cookies := c.ex.policy.another(c.ex, c.req, c.tried, time.Now())
	if u == nil {
		return target{}, false
	}
	to, ok := c.t.target(c.req.Context(), u)
	to.cookies = cookies
	return to, ok
}

// unread says whether the request can be sent whole.
func (c *call) unread() bool {
	return c.repeatable() || c.watch == nil || !c.watch.read.Load()
}

// discard gives a response back that nobody will read. A short one is read to
// its end, so that its connection can be used again.
func discard(res *http.Response) {
	if res.ContentLength >= 0 && res.ContentLength <= 4<<10 {
		_, _ = io.Copy(io.Discard, res.Body)
	}
	res.Body.Close()
}

// once makes a try, hedged if the request allows it.
func (c *call) once(to target, extra bool) result {
	if !extra && c.hedgeable() {
		if after := c.t.hedgeDelay(c.begun); after > 0 {
			return c.hedged(to, after)
		}
	}
	return c.plain(to, extra)
}

// plain makes a try without hedges.
func (c *call) plain(to target, extra bool) result {
	req, a := c.aim(to), c.ex.newTry()
	a.begin(c, req)
	return a.run(req, to, c.ex.priority, extra)
}

// hedgeable says whether the request may be under way twice at once.
func (c *call) hedgeable() bool {
	return c.t.hedge != nil && !hasBody(c.req) && slices.Contains(idempotent, c.req.Method) &&
		c.req.Header.Get("Upgrade") == ""
}

// aim returns the request for a try on an upstream.
func (c *call) aim(to target) *http.Request {
	req := c.request()
	if to.proxy == c.first.proxy {
		return req
	}
	return to.redirect(req, c.first, c.t.ProxyProtocolEnabled())
}

// isDialError says whether no connection was made, so nothing was sent.
func isDialError(err error) bool {
	var dial reverseproxy.DialError
	return errors.As(err, &dial)
}

package resilience

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// try is one request to one upstream, and the context in which that is made.
// What it holds (a permit, places in the upstream's bulkhead and in the budget)
// is released exactly once: at the end of the response body, when the upstream
// fails, or when the client's request ends in whatever way, a panic included.
type try struct {
	scope
	bounds
	vars ownVars

	t      *Transport
	u      *Upstream
	permit Permit
	start  time.Time
	extra  bool      // one of the budget's
	place  *Bulkhead // where it has a place; nil if there is none
	outer  *scope    // which has adopted it; nil if none has
	alarm  *alarm    // of the try's timeout; nil without one
	body   responseBody
	span   gateway.Span

	// decided says whether the response headers or the timeout came first.
	decided atomic.Bool

	// answering says that the response body is being read.
	answering atomic.Bool

	settled  atomic.Bool
	released atomic.Bool
}

// begin makes the try one for a request, in whose own goroutine it is called.
// The try may be ended from then on.
func (a *try) begin(c *call, req *http.Request) {
	a.vars.take(c.vars)
	a.follow(req.Context(), c.t, c.ex.bounds)
}

// follow makes the try end with the request.
func (a *try) follow(ctx context.Context, t *Transport, b bounds) {
	a.t, a.bounds = t, b
	if b.whole != nil && ctx.Done() == b.whole.Done() && b.whole.adopt(a) {
		a.Context, a.outer = ctx, b.whole
		return
	}
	a.scope.begin(ctx, a)
}

// Value implements context.Context.
func (a *try) Value(key any) any {
	if key == caddyhttp.VarsCtxKey {
		return a.vars.get()
	}
	return a.Context.Value(key)
}

// end ends the round trip, or gives a body up that is under way.
func (a *try) end(cause error) {
	a.scope.end(cause)
	if a.answering.Load() {
		a.release()
	}
}

// run makes the try on one upstream, if that upstream's bulkhead and breaker
// allow it. It may run beside other tries of the same request.
func (a *try) run(req *http.Request, to target, p Priority, extra bool) result {
	a.u, a.extra = to.u, extra
	req, a.span = traceTry(req, to, extra)
	if a.span.On() {
		a.Context = req.Context()
	}
	if err := a.admit(p); err != nil {
		return a.refused(err, to)
	}
	if !extra {
		a.t.group.budget.First(a.start)
	}
	r := a.send(req)
	r.to, r.permit = to, a.permit
	return r
}

// refused ends a try that is not sent.
func (a *try) refused(err error, to target) result {
	a.unwatch()
	if a.extra {
		a.t.group.budget.Done(true)
	}
	r := result{err: err, kind: final, to: to} // the client went away while waiting
	if _, ok := errors.AsType[*refusedError](err); ok {
		r.kind = refused
	}
	r.trace(a)
	a.span.End()
	return r
}

// admit takes what a try needs.
func (a *try) admit(p Priority) error {
	t, u, now := a.t, a.u, time.Now()
	if !u.breaker.Ready(now) {
		return t.refuse(u, whyOpen, u.breaker.RetryAfter(now))
	}
	place := u.bulkhead.Load()
	if place != nil {
		if err := place.Enter(a, p); err != nil {
			return t.refuseFull(a, err)
		}
	}
	permit, change, ok := u.breaker.Acquire(now)
	t.reports.tell(u, change)
	if !ok {
		if place != nil {
			place.Leave()
		}
		return t.refuse(u, whyOpen, u.breaker.RetryAfter(now))
	}
	a.permit, a.start, a.place = permit, now, place
	u.started(now)
	return nil
}

func (t *Transport) refuse(u *Upstream, why string, wait time.Duration) error {
	t.reports.metrics.refused[why].Inc()
	return &refusedError{upstream: u.dial, why: why, wait: wait}
}

// refuseFull turns down a request that found no place in the bulkhead.
func (t *Transport) refuseFull(a *try, err error) error {
	if errors.Is(err, errFull) || errors.Is(err, errWaited) {
		return t.refuse(a.u, whyFull, time.Second)
	}
	if a.whole.timedOut() {
		return &timeoutError{upstream: a.u.dial, total: true}
	}
	return err
}

// send makes the round trip. It releases the try unless a body that is still to
// be read does so.
func (a *try) send(req *http.Request) result {
	handedOver := false
	defer func() {
		if !handedOver {
			a.release()
		}
	}()
	sent := a.announce(req.WithContext(a))
	if b, ok := req.Body.(*requestBody); ok {
		defer a.watch(b)()
	} else if limit := time.Duration(a.t.TryTimeout); limit > 0 {
		a.alarm = setAlarm(limit, a)
	}
	res, err := a.t.roundTrip(sent, a.u)
	if err == nil && !a.decided.CompareAndSwap(false, true) {
		res.Body.Close() // the timeout was a moment faster
		err = errTryTimeout
	}
	if err != nil {
		kind, err := a.failed(sent, err)
		r := result{err: err, kind: kind}
		r.trace(a)
		return r
	}
	r := result{res: res}
	if a.t.retry.status(res.StatusCode) {
		r.kind = badStatus
	}
	r.trace(a)
	handedOver = true
	a.answered(req, res)
	return r
}

// ring ends a try whose response headers take longer than its timeout.
func (a *try) ring() {
	if a.decided.CompareAndSwap(false, true) {
		a.end(errTryTimeout)
	}
}

// watch keeps the client's body from holding a try: a read that waits for the
// client ends with the try, and does not count against the upstream's time. It
// returns what ends the watch.
func (a *try) watch(b *requestBody) (stop func()) {
	forget := context.AfterFunc(a, b.abandon)
	limit := time.Duration(a.t.TryTimeout)
	if limit <= 0 {
		return func() { forget() }
	}
	timer := time.AfterFunc(limit, a.ring)
	b.timed(timer, limit)
	return func() { forget(); timer.Stop() }
}

// settle records the outcome, once.
func (a *try) settle(o Outcome, now time.Time) {
	if !a.settled.CompareAndSwap(false, true) {
		return
	}
	a.t.reports.tell(a.u, a.u.breaker.Settle(a.permit, o, now.Sub(a.start), now))
	a.t.reports.metrics.outcomes[o].Inc()
}

// upgraded settles a try whose connection is no longer a request. Its body must
// stay writable and closable by halves, so it is not wrapped; the try's context
// goes on until the client's ends.
func (a *try) upgraded(now time.Time) {
	a.settle(Success, now)
	a.giveBack()
}

// release gives everything back and ends the try's context, once.
func (a *try) release() {
	if !a.giveBack() {
		return
	}
	a.alarm.stop()
	a.unwatch()
	a.scope.end(context.Canceled)
}

// giveBack gives back what others may need, once.
func (a *try) giveBack() bool {
	if !a.released.CompareAndSwap(false, true) {
		return false
	}
	if !a.settled.Load() {
		a.settle(Neither, time.Now())
	}
	a.span.End()
	a.u.inFlight.Add(-1)
	a.t.group.budget.Done(a.extra)
	if a.place != nil {
		a.place.Leave()
	}
	return true
}

// unwatch ends the watch over the client's request.
func (a *try) unwatch() {
	if a.outer != nil {
		a.outer.release()
		return
	}
	a.finish()
}

// announce tells the upstream how much time it has, if that is wanted and there
// is a limit. The header map is the try's own then: others may be under way.
func (a *try) announce(req *http.Request) *http.Request {
	name := a.t.DeadlineHeader
	if name == "" {
		return req
	}
	left := time.Duration(a.t.TryTimeout)
	if end := a.deadline; !end.IsZero() {
		if total := max(time.Millisecond, end.Sub(a.start)); left == 0 || total < left {
			left = total
		}
	}
	req.Header = req.Header.Clone()
	req.Header.Del(name) // never the client's own
	if left > 0 {
		req.Header.Set(name, strconv.FormatInt(left.Milliseconds(), 10))
	}
	return req
}

// failed settles a try that got no response. It returns how the try ended and
// the error to pass on.
func (a *try) failed(sent *http.Request, err error) (kind, error) {
	now := time.Now()
	why := a.why()
	switch fails := &a.t.failures; {
	case clientBodyError(sent) != nil:
		a.settle(Neither, now)
		return final, clientBodyError(sent)
	case errors.Is(why, errHedged):
		a.lost(now)
		return final, err
	case errors.Is(err, errTryTimeout), errors.Is(why, errTryTimeout):
		a.overloaded(now)
		a.settle(outcome(fails.timeouts), now)
		return timeout, &timeoutError{upstream: a.u.dial, after: now.Sub(a.start)}
	case a.whole.timedOut():
		a.overloaded(now)
		a.settle(outcome(fails.timeouts), now)
		return final, &timeoutError{upstream: a.u.dial, after: now.Sub(a.start), total: true}
	case why != nil:
		a.settle(Neither, now)
		return final, err
	case isDialError(err):
		a.settle(outcome(fails.errors), now)
		return connect, err
	case isTimeout(err):
		a.overloaded(now)
		a.settle(outcome(fails.timeouts), now)
		return timeout, err
	default:
		a.settle(outcome(fails.errors), now)
		return reset, err
	}
}

// lost settles a try that another one of the same request has overtaken. That
// says nothing about the upstream, unless it has answered nothing at all since
// longer than a try may take: then it hangs, and nobody but its hedges notices.
func (a *try) lost(now time.Time) {
	a.t.noteLatency(now.Sub(a.start), now)
	if a.u.silent(now) > or(time.Duration(a.t.TryTimeout), time.Second) {
		a.settle(outcome(a.t.failures.timeouts), now)
		return
	}
	a.settle(Neither, now)
}

// overloaded tells the adaptive limit that the upstream was too slow.
func (a *try) overloaded(now time.Time) { a.u.adapt(now.Sub(a.start), true, now) }

func outcome(failed bool) Outcome {
	if failed {
		return Failure
	}
	return Success
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

package resilience

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// settleAfter is how long a body has to flow before its try counts as a
// success, though it has not ended: a stream would otherwise never count.
const settleAfter = time.Second

// try is one request to one upstream. What it holds (a permit, places in the
// upstream's bulkhead and in the budget, its context) is released exactly once:
// at the end of the response body, when the upstream fails, or when the
// client's request ends in whatever way, a panic included.
type try struct {
	t      *Transport
	u      *Upstream
	permit Permit
	start  time.Time
	extra  bool      // one of the budget's
	place  *Bulkhead // where it has a place; nil if there is none
	span   gateway.Span

	// cancel ends the try's own context; nil without one.
	cancel context.CancelCauseFunc
	timer  *time.Timer // of the try's timeout; nil without one

	// decided says whether the response headers or the timeout came first.
	decided atomic.Bool

	// detach undoes the watch over the client's request.
	detach func() bool

	settled  atomic.Bool
	released atomic.Bool
}

// attempt makes one try on one upstream, if that upstream's bulkhead and
// breaker allow it. It may run beside other tries of the same request.
func (t *Transport) attempt(req *http.Request, to target, p Priority, extra bool) result {
	req, span := traceTry(req, to, extra)
	a, err := t.admit(req.Context(), to.u, p)
	if err != nil {
		if extra {
			t.group.budget.Done(true)
		}
		kind := final // the client went away while waiting
		if _, ok := errors.AsType[*refusedError](err); ok {
			kind = refused
		}
		r := result{err: err, kind: kind, to: to}
		if span.On() {
			r.trace(req.Context(), span)
			span.End()
		}
		return r
	}
	a.span = span
	if a.extra = extra; !extra {
		t.group.budget.First(a.start)
	}
	r := a.send(req)
	r.to = to
	return r
}

// admit takes what a try needs.
func (t *Transport) admit(ctx context.Context, u *Upstream, p Priority) (*try, error) {
	now := time.Now()
	if !u.breaker.Ready(now) {
		return nil, t.refuse(u, whyOpen, u.breaker.RetryAfter(now))
	}
	place := u.bulkhead.Load()
	if place != nil {
		if err := place.Enter(ctx, p); err != nil {
			return nil, t.refuseFull(u, err)
		}
		now = time.Now()
	}
	permit, change, ok := u.breaker.Acquire(now)
	t.report(u, change)
	if !ok {
		if place != nil {
			place.Leave()
		}
		return nil, t.refuse(u, whyOpen, u.breaker.RetryAfter(now))
	}
	u.started(now)
	return &try{t: t, u: u, permit: permit, start: now, place: place}, nil
}

func (t *Transport) refuse(u *Upstream, why string, wait time.Duration) error {
	t.metrics.refused[why].Inc()
	return &refusedError{upstream: u.dial, why: why, wait: wait}
}

// refuseFull turns down a request that found no place in the bulkhead.
func (t *Transport) refuseFull(u *Upstream, err error) error {
	if errors.Is(err, errFull) || errors.Is(err, errWaited) {
		return t.refuse(u, whyFull, time.Second)
	}
	if errors.Is(err, errTotalTimeout) {
		return &timeoutError{upstream: u.dial, total: true}
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
	sent := a.isolate(req, time.Duration(a.t.TryTimeout))
	defer a.watch(sent)()
	res, err := a.t.roundTrip(a.announce(sent), a.u)
	if err == nil && !a.decided.CompareAndSwap(false, true) {
		res.Body.Close() // the timeout was a moment faster
		err = errTryTimeout
	}
	if err != nil {
		kind, err := a.failed(req, sent, err)
		r := result{err: err, kind: kind, try: a}
		r.trace(sent.Context(), a.span)
		return r
	}
	r := result{res: res, try: a}
	if a.t.retry.status(res.StatusCode) {
		r.kind = badStatus
	}
	r.trace(sent.Context(), a.span)
	handedOver = true
	a.answered(req, res)
	return r
}

// settle records the outcome, once.
func (a *try) settle(o Outcome, now time.Time) {
	if !a.settled.CompareAndSwap(false, true) {
		return
	}
	a.t.report(a.u, a.u.breaker.Settle(a.permit, o, now.Sub(a.start), now))
	a.t.metrics.count(o)
}

// release gives everything back, once.
func (a *try) release() {
	if !a.released.CompareAndSwap(false, true) {
		return
	}
	a.settle(Neither, time.Now())
	a.span.End()
	a.u.inFlight.Add(-1)
	a.t.group.budget.Done(a.extra)
	if a.place != nil {
		a.place.Leave()
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.cancel != nil {
		a.cancel(context.Canceled)
	}
}

// isolate gives the try its own context, which ends when the response headers
// take longer than the limit. It has its own request variables: the wrapped
// transport may go on dialing in a goroutine that outlives the try, and reads
// them there while handlers write.
func (a *try) isolate(req *http.Request, limit time.Duration) *http.Request {
	own := context.WithValue(req.Context(), caddyhttp.VarsCtxKey, ownVars(req.Context()))
	if limit <= 0 && a.t.IdleTimeout == 0 {
		return req.WithContext(own)
	}
	ctx, cancel := context.WithCancelCause(own)
	a.cancel = cancel
	if limit > 0 {
		a.timer = time.AfterFunc(limit, func() {
			if a.decided.CompareAndSwap(false, true) {
				cancel(errTryTimeout)
			}
		})
	}
	return req.WithContext(ctx)
}

// watch keeps the client's body from holding a try: a read that waits for the
// client ends with the try's context, and does not count against the upstream's
// time. It returns what ends the watch.
func (a *try) watch(req *http.Request) func() bool {
	b, ok := req.Body.(*requestBody)
	if !ok {
		return func() bool { return false }
	}
	b.timed(a.timer, time.Duration(a.t.TryTimeout))
	return context.AfterFunc(req.Context(), b.abandon)
}

// announce tells the upstream how much time it has, if that is wanted and there
// is a limit. The header map is the try's own then: others may be under way.
func (a *try) announce(req *http.Request) *http.Request {
	name := a.t.DeadlineHeader
	if name == "" {
		return req
	}
	left := time.Duration(a.t.TryTimeout)
	if end, ok := req.Context().Value(deadlineKey{}).(time.Time); ok {
		if total := max(time.Millisecond, end.Sub(a.start)); left == 0 || total < left {
			left = total
		}
	}
	clone := *req
	clone.Header = req.Header.Clone()
	clone.Header.Del(name) // never the client's own
	if left > 0 {
		clone.Header.Set(name, strconv.FormatInt(left.Milliseconds(), 10))
	}
	return &clone
}

// failed settles a try that got no response. It returns how the try ended and
// the error to pass on.
func (a *try) failed(req, sent *http.Request, err error) (kind, error) {
	now := time.Now()
	ctx := sent.Context()
	switch {
	case clientBodyError(sent) != nil:
		a.settle(Neither, now)
		return final, clientBodyError(sent)
	case causedBy(ctx, errHedged):
		a.lost(now)
		return final, err
	case errors.Is(err, errTryTimeout), causedBy(ctx, errTryTimeout):
		a.overloaded(now)
		a.settle(outcome(a.t.failures.timeouts), now)
		return timeout, &timeoutError{upstream: a.u.dial, after: now.Sub(a.start)}
	case causedBy(ctx, errTotalTimeout):
		a.overloaded(now)
		a.settle(outcome(a.t.failures.timeouts), now)
		return final, &timeoutError{upstream: a.u.dial, after: now.Sub(a.start), total: true}
	case req.Context().Err() != nil:
		a.settle(Neither, now)
		return final, err
	case isDialError(err):
		a.settle(outcome(a.t.failures.errors), now)
		return connect, err
	case isTimeout(err):
		a.overloaded(now)
		a.settle(outcome(a.t.failures.timeouts), now)
		return timeout, err
	}
	a.settle(outcome(a.t.failures.errors), now)
	return reset, err
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

// answered settles a try whose response headers have arrived, as far as that
// can be said yet, and watches over the body.
func (a *try) answered(req *http.Request, res *http.Response) {
	now := time.Now()
	took := now.Sub(a.start)
	a.u.answered()
	a.u.adapt(took, res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable, now)
	a.t.noteLatency(took, now)
	switch {
	case a.t.failures.status(res.StatusCode):
		a.settle(Failure, now)
	case res.StatusCode == http.StatusSwitchingProtocols:
		// The connection is no longer a request. Its body must stay writable
		// and closable by halves, so it is not wrapped; the try's context ends
		// with the client's.
		a.settle(Success, now)
		a.cancel = nil
		a.release()
		return
	}
	if req.Method == http.MethodHead || res.ContentLength == 0 || res.Body == http.NoBody {
		a.settle(Success, now)
		a.release()
		return
	}
	a.detach = context.AfterFunc(req.Context(), a.release)
	body := &responseBody{ReadCloser: res.Body, try: a, req: req}
	if idle := time.Duration(a.t.IdleTimeout); idle > 0 {
		cancel := a.cancel
		body.idle = time.AfterFunc(idle, func() { cancel(errIdle) })
	}
	res.Body = body
}

// responseBody settles and releases its try when it ends.
type responseBody struct {
	io.ReadCloser
	try  *try
	req  *http.Request
	idle *time.Timer // nil without an idle timeout
}

func (b *responseBody) Read(p []byte) (int, error) {
	if b.idle != nil {
		b.idle.Reset(time.Duration(b.try.t.IdleTimeout))
		defer b.idle.Stop()
	}
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		if !b.try.settled.Load() && time.Since(b.try.start) > settleAfter {
			b.try.settle(Success, time.Now())
		}
		return n, nil
	}
	b.end(err)
	return n, err
}

// end settles by how the body ended: a connection that breaks in the middle is
// the upstream's failure, unless the client had gone before.
func (b *responseBody) end(err error) {
	switch {
	case errors.Is(err, io.EOF):
		b.try.settle(Success, time.Now())
	case b.req.Context().Err() != nil:
		b.try.settle(Neither, time.Now())
	default:
		b.try.settle(outcome(b.try.t.failures.errors), time.Now())
	}
	b.try.detach()
	b.try.release()
}

// Close ends a body that was not read to its end, which says nothing bad about
// the upstream.
func (b *responseBody) Close() error {
	if b.req.Context().Err() == nil {
		b.try.settle(Success, time.Now())
	}
	b.try.detach()
	if b.idle != nil {
		b.idle.Stop()
	}
	err := b.ReadCloser.Close()
	b.try.release()
	return err
}

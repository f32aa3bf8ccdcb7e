package resilience

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// settleAfter is how long a body has to flow before its try counts as a
// success, though it has not ended: a stream would otherwise never count.
const settleAfter = time.Second

// try is one request to one upstream. What it holds (a permit, a place among
// the requests in flight, its context) is released exactly once: at the end of
// the response body, when the upstream fails, or when the client's request
// ends in whatever way, a panic included.
type try struct {
	t      *Transport
	u      *Upstream
	permit Permit
	start  time.Time

	// cancel ends the try's own context; nil without one.
	cancel context.CancelCauseFunc
	timer  *time.Timer

	// detach undoes the watch over the client's request.
	detach func() bool

	settled  atomic.Bool
	released atomic.Bool
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
	a.u.inFlight.Add(-1)
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.cancel != nil {
		a.cancel(context.Canceled)
	}
}

// deadline gives the try its own context, which ends when the response headers
// take longer than the limit.
func (a *try) deadline(req *http.Request, limit time.Duration) *http.Request {
	if limit <= 0 {
		return req
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	a.cancel = cancel
	a.timer = time.AfterFunc(limit, func() { cancel(errTryTimeout) })
	return req.WithContext(ctx)
}

// failed settles a try that got no response and returns the error to pass on.
func (a *try) failed(req, sent *http.Request, err error) error {
	now := time.Now()
	defer a.release()
	cause := context.Cause(sent.Context())
	switch {
	case errors.Is(cause, errTryTimeout), errors.Is(cause, errTotalTimeout), isTimeout(err) && req.Context().Err() == nil:
		a.settle(outcome(a.t.failures.timeouts), now)
		if cause == nil {
			return err
		}
		return &timeoutError{upstream: a.u.dial, after: now.Sub(a.start), total: errors.Is(cause, errTotalTimeout)}
	case req.Context().Err() != nil, clientBodyFailed(sent):
		a.settle(Neither, now)
	default:
		a.settle(outcome(a.t.failures.errors), now)
	}
	return err
}

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
	case req.Method == http.MethodHead, res.ContentLength == 0, res.Body == http.NoBody:
		a.settle(Success, now)
		a.release()
		return
	}
	a.detach = context.AfterFunc(req.Context(), a.release)
	res.Body = &responseBody{ReadCloser: res.Body, try: a, req: req}
}

// responseBody settles and releases its try when it ends.
type responseBody struct {
	io.ReadCloser
	try *try
	req *http.Request
}

func (b *responseBody) Read(p []byte) (int, error) {
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
	case err == io.EOF:
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
	b.try.release()
	return b.ReadCloser.Close()
}

// requestBody notes that reading the client's request failed, which is not the
// upstream's fault.
type requestBody struct {
	io.ReadCloser
	failed atomic.Bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.failed.Store(true)
	}
	return n, err
}

func clientBodyFailed(req *http.Request) bool {
	b, ok := req.Body.(*requestBody)
	return ok && b.failed.Load()
}

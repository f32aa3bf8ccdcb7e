package resilience

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// settleAfter is how long a body has to flow before its try counts as a
// success, though it has not ended: a stream would otherwise never count.
const settleAfter = time.Second

// answered settles a try whose response headers have arrived, as far as that
// can be said yet, and watches over the body.
func (a *try) answered(req *http.Request, res *http.Response) {
	now := time.Now()
	took := now.Sub(a.start)
	a.alarm.stop()
	a.alarm = nil
	a.u.answered()
	a.u.adapt(took, res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable, now)
	a.t.noteLatency(took, now)
	switch {
	case a.t.failures.status(res.StatusCode):
		a.settle(Failure, now)
	case res.StatusCode == http.StatusSwitchingProtocols:
		a.upgraded(now)
		return
	}
	if req.Method == http.MethodHead || res.ContentLength == 0 || res.Body == http.NoBody {
		a.settle(Success, now)
		a.release()
		return
	}
	a.body = responseBody{ReadCloser: res.Body, try: a}
	if idle := time.Duration(a.t.IdleTimeout); idle > 0 {
		a.body.idle = time.AfterFunc(idle, func() { a.scope.end(errIdle) })
	}
	res.Body = &a.body
	a.answering.Store(true)
	if a.why() != nil { // ended in between
		a.release()
	}
}

// responseBody settles and releases its try when it ends.
type responseBody struct {
	io.ReadCloser
	try  *try
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
	now := time.Now()
	switch why := b.try.why(); {
	case errors.Is(err, io.EOF):
		b.try.settle(Success, now)
	case why != nil && !errors.Is(why, errIdle):
		b.try.settle(Neither, now)
	default:
		b.try.settle(outcome(b.try.t.failures.errors), now)
	}
	b.try.release()
}

// Close ends a body that was not read to its end, which says nothing bad about
// the upstream.
func (b *responseBody) Close() error {
	if b.try.why() == nil {
		b.try.settle(Success, time.Now())
	}
	if b.idle != nil {
		b.idle.Stop()
	}
	err := b.ReadCloser.Close()
	b.try.release()
	return err
}

package resilience

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// errAbandoned is what reading a client's body returns once its request has
// ended.
var errAbandoned = errors.New("the request has ended")

// requestBody stands between the wrapped transport and a client's body. It
// notes whether any of it has been read, and that reading failed, which is not
// the upstream's fault. Close is passed on only after the end was read: if an
// upstream answers before, the server has to see that the rest is still on the
// connection, or it would take that for the client's next request.
type requestBody struct {
	io.ReadCloser

	// client is where the response goes, through which a read that waits for
	// the client can be ended; nil if it is not known.
	client http.ResponseWriter

	// timer is stopped while the client is waited for, and set to limit again
	// after that: a slow client is not a slow upstream.
	timer *time.Timer
	limit time.Duration

	read    atomic.Bool
	reading atomic.Bool
	ended   atomic.Bool
	gone    atomic.Bool // nobody wants the body any more
	late    atomic.Bool // it was still being waited for then
	err     atomic.Pointer[error]
}

// timed sets the timer of the try that is about to begin.
func (b *requestBody) timed(timer *time.Timer, limit time.Duration) { b.timer, b.limit = timer, limit }

func (b *requestBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	b.reading.Store(true)
	defer b.reading.Store(false)
	if b.gone.Load() {
		return 0, errAbandoned
	}
	if b.timer != nil && b.timer.Stop() {
		defer b.timer.Reset(b.limit)
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.ended.Store(true)
	case err != nil:
		b.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

func (b *requestBody) Close() error {
	if !b.ended.Load() {
		return nil
	}
	return b.ReadCloser.Close()
}

// abandon ends reading: what has not come yet is not waited for. The wrapped
// transport waits for a read that is under way, and so does the server.
func (b *requestBody) abandon() {
	b.gone.Store(true)
	if b.reading.Load() && b.client != nil {
		b.late.Store(true)
		_ = http.NewResponseController(b.client).SetReadDeadline(time.Unix(1, 0))
	}
}

// failure returns the error that the client's body has met, as the error of a
// bad request, or nil.
func (b *requestBody) failure() error {
	err := b.err.Load()
	switch {
	case b.late.Load() && (err == nil || isTimeout(*err)):
		return caddyhttp.Error(http.StatusRequestTimeout, errors.New("the request's body did not come in time"))
	case err == nil:
		return nil
	}
	return caddyhttp.Error(http.StatusBadRequest, fmt.Errorf("reading the request's body: %w", *err))
}

// clientBodyError returns the error of a request's own body, or nil.
func clientBodyError(req *http.Request) error {
	if b, ok := req.Body.(*requestBody); ok {
		return b.failure()
	}
	return nil
}

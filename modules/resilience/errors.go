package resilience

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Causes of a scope's end that stand for context.DeadlineExceeded.
var (
	// errTotalTimeout: the handler's timeout has ended the request.
	errTotalTimeout error = &lapse{"the request's total timeout has passed"}

	// errTryTimeout: a try took too long.
	errTryTimeout error = &lapse{"the try's timeout has passed"}

	// errIdle: a try was broken off in the middle of its body.
	errIdle error = &lapse{"the response body was silent for too long"}
)

// lapse is a time that has passed.
type lapse struct{ what string }

func (e *lapse) Error() string { return e.what }

// Is makes errors.Is see what a context says of it.
func (e *lapse) Is(target error) bool { return target == context.DeadlineExceeded }

// refusedError says that a request was not sent to an upstream. reverse_proxy
// may try again whatever the method, as after a failed dial, and answers 503
// in the end.
type refusedError struct {
	upstream string
	why      string
	wait     time.Duration
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("upstream %q was not asked: %s", e.upstream, e.why)
}

// As makes the error pass for the two types that reverse_proxy looks for. The
// breaker of an upstream refuses before a connection exists, which is what a
// DialError stands for.
func (e *refusedError) As(target any) bool {
	switch t := target.(type) {
	case *reverseproxy.DialError:
		*t = reverseproxy.NewDialError(e)
	case *caddyhttp.HandlerError:
		*t = caddyhttp.HandlerError{Err: e, StatusCode: http.StatusServiceUnavailable}
	default:
		return false
	}
	return true
}

// timeoutError says that an upstream did not answer in time. reverse_proxy
// answers 504 to that of a try because it is a net.Error; after that of the
// whole request it stops, and the handler answers.
type timeoutError struct {
	upstream string
	after    time.Duration
	total    bool
}

func (e *timeoutError) Error() string {
	which := "try"
	if e.total {
		which = "total"
	}
	return fmt.Sprintf("upstream %q did not answer within the %s timeout (%s)", e.upstream, which, e.after.Round(time.Millisecond))
}

// Is lets reverse_proxy take the total timeout for a client that left: it tries
// no more, and counts no failure.
func (e *timeoutError) Is(target error) bool { return e.total && target == context.Canceled }

// Timeout implements net.Error.
func (*timeoutError) Timeout() bool { return true }

// Temporary implements net.Error.
func (*timeoutError) Temporary() bool { return true }

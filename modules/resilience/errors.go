package resilience

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// errTotalTimeout is the cause of a request's cancellation by the handler's
// timeout.
var errTotalTimeout = errors.New("the request's total timeout has passed")

// errTryTimeout is the cause of one try's cancellation.
var errTryTimeout = errors.New("the try's timeout has passed")

// errIdle is the cause of a try's cancellation in the middle of a body.
var errIdle = errors.New("the response body was silent for too long")

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
// answers 504 because it is a net.Error.
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

// Timeout implements net.Error.
func (*timeoutError) Timeout() bool { return true }

// Temporary implements net.Error.
func (*timeoutError) Temporary() bool { return true }

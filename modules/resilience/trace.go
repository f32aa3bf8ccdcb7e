package resilience

import (
	"errors"
	"net"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/trace"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// outward is made once, since most requests are not traced.
var outward = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient)}

// traceTry begins the step of a request's trace that a try is, from the wait for
// a place to the end of the response body. The upstream gets its context, so
// that what it does is seen as part of this very try. Names without "fairway."
// are OpenTelemetry's for HTTP clients.
func traceTry(req *http.Request, to target, extra bool) (*http.Request, gateway.Span) {
	ctx, span := gateway.StartSpan(req.Context(), "upstream", outward...)
	if !span.On() {
		return req, span
	}
	host, port, err := net.SplitHostPort(to.u.dial)
	if err != nil {
		host = to.u.dial // a Unix socket
	}
	span.String("server.address", host)
	if n, err := strconv.Atoi(port); err == nil {
		span.Int("server.port", n)
	}
	span.String("http.request.method", req.Method)
	span.String("fairway.upstream", to.u.dial)
	span.String("fairway.breaker", to.u.breaker.State().String())
	span.Bool("fairway.budgeted", extra)
	req = req.WithContext(ctx)
	req.Header = span.Forward(ctx, req.Header)
	return req, span
}

// trace leaves on a try's span how the try ended.
func (r *result) trace(a *try) {
	span := a.span
	if !span.On() {
		return
	}
	if errors.Is(a.why(), errHedged) {
		span.String("fairway.outcome", "overtaken") // nothing has failed
		return
	}
	outcome := r.kind.String()
	span.String("fairway.outcome", outcome)
	if refusal, ok := errors.AsType[*refusedError](r.err); ok {
		span.String("fairway.refused", refusal.why)
	}
	if r.res != nil {
		span.Int("http.response.status_code", r.res.StatusCode)
	}
	if r.err != nil || r.res.StatusCode >= http.StatusInternalServerError {
		span.String("error.type", r.errorType(outcome))
		span.Fail(outcome)
	}
}

// errorType is the status if there is one, as the conventions ask.
func (r *result) errorType(outcome string) string {
	if r.res != nil {
		return strconv.Itoa(r.res.StatusCode)
	}
	return outcome
}

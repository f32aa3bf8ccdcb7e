package http

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traced makes a span of each request but the many that ask how we are.
func traced(next http.Handler, p trace.TracerProvider) http.Handler {
	return otelhttp.NewHandler(next, "users",
		otelhttp.WithTracerProvider(p), otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithFilter(func(r *http.Request) bool { return !isProbe(r.URL.Path) }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }))
}

// isProbe reports whether a path is one that monitoring asks all the time.
func isProbe(path string) bool { return path == "/health" || path == "/ready" }

// nameSpan names a request's span after its route, which is known at the end, and
// returns the id of its trace, "" if it is not traced.
func nameSpan(r *http.Request, c *call) (traceID string) {
	span := trace.SpanFromContext(r.Context())
	if !span.SpanContext().IsValid() {
		return ""
	}
	if c.route != "" {
		span.SetName(c.route)
		span.SetAttributes(attribute.String("http.route", c.route))
	}
	if c.user != nil {
		span.SetAttributes(attribute.Int64("user.id", c.user.ID))
	}
	return span.SpanContext().TraceID().String()
}

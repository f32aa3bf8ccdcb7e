package gateway

import (
	"context"
	"maps"
	"net/http"
	"sync"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracerName names the scope of our spans, as OpenTelemetry wants it: the code
// that makes them.
const tracerName = "github.com/fairway-gateway/fairway"

// Span is a step of a request's trace, with the decision taken there as
// attributes: a zone that was asked, a try on an upstream. The zero Span is a
// step of a request that is not traced: its methods do nothing. Attributes must
// never hold a secret or a body.
type Span struct{ span trace.Span }

// StartSpan begins a step inside the one that ctx is in; the context it returns
// is for what happens within. Requests are traced by Caddy's `tracing`. Without
// it, or if the request is not sampled, ctx itself comes back with the zero
// Span, at the cost of a look-up in the context.
func StartSpan(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	// Not IsRecording: what goes on in the background outlives its parent.
	if !parent.SpanContext().IsSampled() {
		return ctx, Span{}
	}
	ctx, span := parent.TracerProvider().Tracer(tracerName).Start(ctx, name, options...)
	return ctx, Span{span}
}

// CurrentSpan returns the step that ctx is in.
func CurrentSpan(ctx context.Context) Span {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return Span{}
	}
	return Span{span}
}

// On tells whether the request is traced: ask before computing an attribute.
func (s Span) On() bool { return s.span != nil }

// String sets an attribute, unless it is empty.
func (s Span) String(key, value string) {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Int sets an attribute.
func (s Span) Int(key string, value int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// Bool sets an attribute.
func (s Span) Bool(key string, value bool) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Bool(key, value))
	}
}

// Fail marks the step as failed; what is one of a closed set of words.
func (s Span) Fail(what string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, what)
	}
}

// End ends the step. What is set later has no effect.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// propagator writes a trace's context into header fields: traceparent and
// tracestate (W3C Trace Context), or what OTEL_PROPAGATORS says, as Caddy's own.
var propagator = sync.OnceValue(func() propagation.TextMapPropagator { return autoprop.NewTextMapPropagator() })

// Forward returns the header of a request that is sent within the step that ctx
// is in, so that whoever gets it goes on with the trace from there. It is a copy
// if the request is traced.
func (s Span) Forward(ctx context.Context, header http.Header) http.Header {
	if s.span == nil {
		return header
	}
	header = maps.Clone(header)
	propagator().Inject(ctx, propagation.HeaderCarrier(header))
	return header
}

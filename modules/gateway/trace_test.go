package gateway_test

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairway-gateway/fairway/modules/gateway"
	"github.com/fairway-gateway/fairway/test/process"
)

// traced returns the context of a request that is traced, and what was recorded.
func traced(t testing.TB, sampler sdktrace.Sampler) (context.Context, trace.Span, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(sampler))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	ctx, span := provider.Tracer("test").Start(t.Context(), "request")
	return ctx, span, recorder
}

func TestSpan_IsAChildWithTheDecision(t *testing.T) {
	ctx, request, recorder := traced(t, sdktrace.AlwaysSample())
	inner, span := gateway.StartSpan(ctx, "rate_limit")
	span.String("zone", "login")
	span.String("empty", "")
	span.Int("remaining", 3)
	span.Bool("ok", true)
	span.Fail("Too many requests")
	header := http.Header{"Accept": {"text/plain"}}
	sent := span.Forward(inner, header)
	span.End()

	ended := recorder.Ended()
	if len(ended) != 1 {
		t.Fatalf("%d spans ended, want 1", len(ended))
	}
	got := ended[0]
	if got.Name() != "rate_limit" || got.Parent().SpanID() != request.SpanContext().SpanID() {
		t.Errorf("span %q has parent %s, want %s", got.Name(), got.Parent().SpanID(), request.SpanContext().SpanID())
	}
	attributes := map[string]string{}
	for _, a := range got.Attributes() {
		attributes[string(a.Key)] = a.Value.String()
	}
	if len(attributes) != 3 || attributes["zone"] != "login" || attributes["remaining"] != "3" || attributes["ok"] != "true" {
		t.Errorf("attributes = %v", attributes)
	}
	if got.Status().Code != codes.Error || got.Status().Description != "Too many requests" {
		t.Errorf("status = %+v", got.Status())
	}
	want := "00-" + got.SpanContext().TraceID().String() + "-" + got.SpanContext().SpanID().String() + "-01"
	if sent.Get("Traceparent") != want || sent.Get("Accept") != "text/plain" {
		t.Errorf("forwarded %v, want traceparent %s", sent, want)
	}
	if len(header) != 1 {
		t.Errorf("the header that was given has changed: %v", header)
	}
}

func TestSpan_OutlivesItsParent(t *testing.T) {
	ctx, request, recorder := traced(t, sdktrace.AlwaysSample())
	request.End()
	_, span := gateway.StartSpan(ctx, "background")
	span.End()
	if ended := recorder.Ended(); len(ended) != 2 || ended[1].Name() != "background" {
		t.Errorf("%d spans ended, want the request's and one of the background", len(ended))
	}
}

func TestSpan_DoesNothingUntraced(t *testing.T) {
	unsampled, _, recorder := traced(t, sdktrace.NeverSample())
	for name, ctx := range map[string]context.Context{"no tracing": t.Context(), "not sampled": unsampled} {
		inner, span := gateway.StartSpan(ctx, "x")
		if inner != ctx || span.On() || gateway.CurrentSpan(ctx).On() {
			t.Errorf("%s: there is a span", name)
		}
		span.String("a", "b")
		span.Fail("no")
		span.End()
		header := http.Header{"Traceparent": {"as it was"}}
		if got := span.Forward(ctx, header); len(got) != 1 || got.Get("Traceparent") != "as it was" {
			t.Errorf("%s: forwarded %v", name, got)
		}
	}
	if n := len(recorder.Ended()); n != 0 {
		t.Errorf("%d spans ended, want none", n)
	}
}

type key int

// A request's context is some twenty values deep when it reaches the transport.
func deepContext() context.Context {
	ctx := context.Background()
	for i := range 20 {
		ctx = context.WithValue(ctx, key(i), i)
	}
	return ctx
}

func TestSpan_CostsNoMemoryUntraced(t *testing.T) {
	ctx := deepContext()
	n := testing.AllocsPerRun(100, func() {
		inner, span := gateway.StartSpan(ctx, "x")
		span.String("a", "b")
		span.Forward(inner, nil)
		span.End()
	})
	if n != 0 {
		t.Errorf("%v allocations without tracing, want 0", n)
	}
}

// What a request pays for the places that would be spans, without `tracing`.
func BenchmarkFigure_TracingOff(b *testing.B) {
	const places, proxied = 6, 94.0 // µs: a request that Caddy proxies (docs/operations.md)
	ctx, rounds := deepContext(), 200_000
	if testing.Short() {
		rounds = 2000
	}
	start := process.SelfCPU()
	for range rounds * places {
		inner, span := gateway.StartSpan(ctx, "x")
		span.String("a", "b")
		span.Forward(inner, nil)
		span.End()
	}
	each := float64(process.SelfCPU()-start) / 1000 / float64(rounds)
	b.ReportMetric(each, "cpu-µs/request")
	b.Logf("tracing off: %d places in a request cost %.2f µs of processor time, %.2f %% of the %.0f µs of a proxied request; target: nothing measurable (< 1 %%)",
		places, each, 100*each/proxied, proxied)
}

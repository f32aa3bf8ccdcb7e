package http

import (
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/fairway-gateway/fairway/backend/sql"
	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

// A request that the gateway traces has a span below the gateway's, with spans of
// its statements below that; none of them tells a secret.
func TestTrace_SpansBelowTheGateways(t *testing.T) {
	for name, conf := range map[string]sql.Config{"sqlite": {Dir: t.TempDir()}, "postgres": {URL: pgtest.Database(t)}} {
		t.Run(name, func(t *testing.T) {
			spans := tracetest.NewInMemoryExporter()
			provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
			conf.Traces = provider
			f := newFixture(t, conf, func(c *Config) { c.Traces = provider })
			_, ada := f.register("ada@example.com")
			spans.Reset()
			const traceID, gateway = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
			f.want(200, f.do("GET", "/api/users/me?access_token=hunter2", "", append(ada, "traceparent", "00-"+traceID+"-"+gateway+"-01")...))
			f.want(200, f.do("GET", "/health", ""))

			var request tracetest.SpanStub
			statements := 0
			for _, s := range spans.GetSpans() {
				if s.SpanContext.TraceID().String() != traceID {
					t.Errorf("%q belongs to another trace", s.Name)
				}
				if s.Name == "GET /api/users/{id}" {
					request = s
				}
				for _, a := range s.Attributes {
					if v := a.Value.String(); strings.Contains(v, "hunter2") || strings.Contains(v, ada[1][20:]) || strings.Contains(v, "ada@") {
						t.Errorf("%q tells %s = %s", s.Name, a.Key, v)
					}
				}
			}
			if request.Parent.SpanID().String() != gateway {
				t.Fatalf("no span of the request is below the gateway's: %v", spans.GetSpans().Snapshots())
			}
			for _, s := range spans.GetSpans() {
				if s.Parent.SpanID() == request.SpanContext.SpanID() {
					statements++
				}
			}
			if statements != 3 {
				t.Errorf("%d statements have a span below the request's, want 3: who asks, the user, the profile", statements)
			}
			if !strings.Contains(f.log.String(), `"trace_id":"`+traceID+`"`) {
				t.Error("the log does not name the trace")
			}
		})
	}
}

// Streaming goes through the tracing as well.
func TestTrace_ExportIsFlushed(t *testing.T) {
	provider := sdktrace.NewTracerProvider()
	f := onSQLite(t, func(c *Config) { c.Traces = provider })
	resp, body := f.download("", f.admin())
	if resp.StatusCode != 200 || strings.Count(body, "\n") != 2 {
		t.Errorf("the export is %d %q, want a header and a user", resp.StatusCode, body)
	}
}

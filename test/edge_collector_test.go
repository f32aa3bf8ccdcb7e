package test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes spans as OpenTelemetry's exporters send them (OTLP over HTTP,
// in protobuf).
type collector struct {
	url string

	mu    sync.Mutex
	spans []*tracepb.Span
}

func startCollector(t testing.TB) *collector {
	t.Helper()
	c := new(collector)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.take)
	s := httptest.NewServer(mux)
	c.url = s.URL
	t.Cleanup(s.Close)
	return c
}

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	// An ExportTraceServiceRequest has the same one field as TracesData.
	var data tracepb.TracesData
	if err == nil {
		err = proto.Unmarshal(body, &data)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range data.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// env makes a gateway export to this collector, soon after a span has ended.
func (c *collector) env() []string {
	return []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.url, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_SERVICE_NAME=fairway",
	}
}

// trace waits until a trace has n spans and returns them in the order in which
// they began.
func (c *collector) trace(t testing.TB, id string, n int) []*tracepb.Span {
	t.Helper()
	var found []*tracepb.Span
	eventually(t, fmt.Sprintf("%d spans of trace %s", n, id), func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		found = found[:0]
		for _, s := range c.spans {
			if hex.EncodeToString(s.TraceId) == id {
				found = append(found, s)
			}
		}
		if len(found) < n {
			return fmt.Errorf("only %d of %d", len(found), len(c.spans))
		}
		return nil
	})
	slices.SortFunc(found, func(a, b *tracepb.Span) int { return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano) })
	return found
}

// drawing draws spans as a tree: names, the attributes that begin with one of
// the prefixes, in order, and whether the step failed.
type drawing struct {
	spans    []*tracepb.Span
	prefixes []string
	lines    []string
}

func drawTrace(spans []*tracepb.Span, prefixes ...string) string {
	d := &drawing{spans: spans, prefixes: prefixes}
	for _, s := range spans {
		if s.ParentSpanId == nil || !slices.ContainsFunc(spans, func(p *tracepb.Span) bool { return string(p.SpanId) == string(s.ParentSpanId) }) {
			d.span(s, "", "")
		}
	}
	return strings.Join(d.lines, "\n") + "\n"
}

func (d *drawing) span(s *tracepb.Span, head, indent string) {
	line := head + s.Name
	for _, prefix := range d.prefixes {
		for _, a := range s.Attributes {
			if strings.HasPrefix(a.Key, prefix) {
				line += " " + a.Key[strings.LastIndexByte(a.Key, '.')+1:] + "=" + attributeText(a.Value)
			}
		}
	}
	if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		line += " (error)"
	}
	d.lines = append(d.lines, line)
	var children []*tracepb.Span
	for _, c := range d.spans {
		if string(c.ParentSpanId) == string(s.SpanId) {
			children = append(children, c)
		}
	}
	for i, c := range children {
		if i == len(children)-1 {
			d.span(c, indent+"└─ ", indent+"   ")
		} else {
			d.span(c, indent+"├─ ", indent+"│  ")
		}
	}
}

func attributeText(v *commonpb.AnyValue) string {
	switch v := v.Value.(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *commonpb.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	}
	return v.String()
}

// attribute returns one of a span's attributes as text, "" if it has none.
func attribute(s *tracepb.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return attributeText(a.Value)
		}
	}
	return ""
}

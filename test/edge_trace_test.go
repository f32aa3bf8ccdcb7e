package test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// tracedUpstream answers as it is told, and remembers the traceparent of each
// request.
type tracedUpstream struct {
	addr string

	mu      sync.Mutex
	status  int
	delay   time.Duration
	parents []string
}

func startTracedUpstream(t testing.TB, status int, delay time.Duration) *tracedUpstream {
	t.Helper()
	u := &tracedUpstream{status: status, delay: delay}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.parents = append(u.parents, r.Header.Get("Traceparent"))
		status, delay := u.status, u.delay
		u.mu.Unlock()
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.WriteHeader(status)
		fmt.Fprint(w, "answer")
	}))
	u.addr = strings.TrimPrefix(s.URL, "http://")
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return u
}

// seen is the span ids that an upstream was given as parents, in trace id.
func (u *tracedUpstream) seen(t testing.TB, id string) (spans []string) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.parents {
		parts := strings.Split(p, "-")
		if len(parts) != 4 || parts[3] != "01" {
			t.Errorf("traceparent %q", p)
			continue
		}
		if parts[1] == id {
			spans = append(spans, parts[2])
		}
	}
	return spans
}

const tracesKey = "traces-test-key-0123456789abcdef0123"

func tracesToken(t testing.TB) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://auth.example", "sub": "ada", "aud": "api", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(tracesKey))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// tracesConfig is the Caddyfile that docs/traces.md shows.
func tracesConfig(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "docs", "traces.Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A trace of one request with a retry, as docs/traces.md draws it: each decision
// is a step, each try a step of its own, and the upstream goes on from the try
// that reached it.
func TestTraces_OneRequestWithARetry(t *testing.T) {
	c, failing, good := startCollector(t), startTracedUpstream(t, 503, 0), startTracedUpstream(t, 200, 0)
	g := startGateway(t, tracesConfig(t), slices.Concat(c.env(), []string{
		"KEY=" + tracesKey, "UPSTREAM_A=" + failing.addr, "UPSTREAM_B=" + good.addr,
	})...)

	const caller = "0af7651916cd43dd8448eb211c80319c"
	a := get(g.url+"/api/reports?days=7").as(tracesToken(t)).
		with("Traceparent", "00-"+caller+"-b7ad6b7169203331-01").send(t).want(t, http.StatusOK)
	spans := c.trace(t, caller, 8)
	tree := drawTrace(spans, "fairway.status", "fairway.error", "fairway.auth", "fairway.rate_limit", "fairway.validate",
		"fairway.cache", "fairway.upstream", "fairway.breaker", "fairway.outcome", "http.response.status_code")
	tree = strings.NewReplacer(failing.addr, "10.0.0.1:8081", good.addr, "10.0.0.2:8081").Replace(tree)
	wantOnPage(t, "traces.md", "```text\n"+tree+"```")
	wantOnPage(t, "traces.md", "```caddyfile\n"+tracesConfig(t)+"```")

	byUpstream := map[string]*tracepb.Span{}
	for _, s := range spans {
		if s.Name == "upstream" {
			byUpstream[attribute(s, "fairway.upstream")] = s
		}
		if id := attribute(s, "fairway.request_id"); s.Name == "gateway" && id != a.header.Get("X-Request-Id") {
			t.Errorf("the request's span has the id %q, want %q", id, a.header.Get("X-Request-Id"))
		}
	}
	for _, u := range []*tracedUpstream{failing, good} {
		span := byUpstream[u.addr]
		if span == nil {
			t.Fatalf("no span of a try on %s:\n%s", u.addr, tree)
		}
		if got, want := u.seen(t, caller), hex.EncodeToString(span.SpanId); !slices.Equal(got, []string{want}) {
			t.Errorf("%s was given the parents %v, want its try's span %s", u.addr, got, want)
		}
		if span.Kind != tracepb.Span_SPAN_KIND_CLIENT {
			t.Errorf("the try on %s is of kind %s", u.addr, span.Kind)
		}
	}
	eventually(t, "the trace in the access log", func() error {
		if !strings.Contains(g.Log(), `"traceID":"`+caller+`"`) {
			return fmt.Errorf("no line with it")
		}
		return nil
	})
}

// What a hit, a refusal and a hedge leave in their traces.
func TestTraces_OtherDecisions(t *testing.T) {
	c, slow, good := startCollector(t), startTracedUpstream(t, 200, 5*time.Second), startTracedUpstream(t, 200, 0)
	config := strings.Replace(tracesConfig(t), "retry 1 on 503", "retry 1 on 503\n\t\t\t\thedge 100ms", 1)
	g := startGateway(t, config, slices.Concat(c.env(), []string{
		"KEY=" + tracesKey, "UPSTREAM_A=" + slow.addr, "UPSTREAM_B=" + good.addr,
	})...)
	token := tracesToken(t)
	send := func(id string, r request, status int) {
		t.Helper()
		r.with("Traceparent", "00-"+id+"-b7ad6b7169203331-01").send(t).want(t, status)
	}
	find := func(spans []*tracepb.Span, name, key, value string) *tracepb.Span {
		t.Helper()
		for _, s := range spans {
			if s.Name == name && (key == "" || attribute(s, key) == value) {
				return s
			}
		}
		t.Fatalf("no span %s with %s=%s:\n%s", name, key, value, drawTrace(spans, "fairway", "http"))
		return nil
	}

	const hedged, hit, refused, invalid = "11111111111111111111111111111111", "22222222222222222222222222222222",
		"33333333333333333333333333333333", "44444444444444444444444444444444"
	send(hedged, get(g.url+"/api/reports?days=1").as(token), http.StatusOK)
	spans := c.trace(t, hedged, 8)
	if loser := find(spans, "upstream", "fairway.outcome", "overtaken"); loser.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("a try that was overtaken counts as failed:\n%s", drawTrace(spans, "fairway"))
	}
	if winner := find(spans, "upstream", "fairway.outcome", "fine"); attribute(winner, "fairway.upstream") != good.addr || attribute(winner, "fairway.budgeted") != "true" {
		t.Errorf("the hedge's span:\n%s", drawTrace(spans, "fairway", "http"))
	}

	send(hit, get(g.url+"/api/reports?days=1").as(token), http.StatusOK)
	spans = c.trace(t, hit, 6)
	find(spans, "cache", "fairway.cache.outcome", "hit")
	if slices.ContainsFunc(spans, func(s *tracepb.Span) bool { return s.Name == "upstream" }) {
		t.Errorf("a hit has tried an upstream:\n%s", drawTrace(spans, "fairway"))
	}

	send(refused, get(g.url+"/api/reports?days=1").as(token+"x"), http.StatusUnauthorized)
	spans = c.trace(t, refused, 3)
	if s := find(spans, "jwt_auth", "", ""); s.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || attribute(s, "fairway.auth.outcome") == "ok" {
		t.Errorf("the refusal's span:\n%s", drawTrace(spans, "fairway"))
	}
	find(spans, "gateway", "fairway.status", "401")

	send(invalid, get(g.url+"/api/reports?days=many").as(token), http.StatusBadRequest)
	spans = c.trace(t, invalid, 5)
	find(spans, "validate", "fairway.validate.errors", "1")
	find(spans, "gateway", "fairway.error", "Validation failed")
	for _, s := range c.spans {
		if text := s.String(); strings.Contains(text, token) || strings.Contains(text, tracesKey) {
			t.Errorf("a span shows a secret: %s", text)
		}
	}
}

// A request that its caller does not sample, and one to a gateway without a
// collector, is answered as ever.
func TestTraces_UnsampledAndWithoutCollector(t *testing.T) {
	c, good := startCollector(t), startTracedUpstream(t, 200, 0)
	dead := startDeadEnd(t, "")
	for name, env := range map[string][]string{
		"not sampled":          c.env(),
		"the collector is bad": {"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + dead.addr, "OTEL_BSP_SCHEDULE_DELAY=50"},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, tracesConfig(t), slices.Concat(env, []string{
				"KEY=" + tracesKey, "UPSTREAM_A=" + good.addr, "UPSTREAM_B=" + good.addr,
			})...)
			r := get(g.url + "/api/reports?days=2").as(tracesToken(t))
			if name == "not sampled" {
				r = r.with("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
			}
			if a := r.send(t).want(t, http.StatusOK); a.took > 5*time.Second {
				t.Errorf("it took %s", a.took)
			}
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 0 {
		t.Errorf("%d spans of a request that is not sampled", len(c.spans))
	}
}

// wantOnPage fails the test unless a page of docs/ shows a text.
func wantOnPage(t testing.TB, page, text string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), text) {
		t.Errorf("docs/%s does not show:\n%s", page, text)
	}
}

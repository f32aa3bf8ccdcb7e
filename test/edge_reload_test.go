package test

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

// edgeReloadConfig has every module of the edge. VERSION shows in the answers.
const edgeReloadConfig = `
{
	admin {$FAIRWAY_ADMIN}
	grace_period 30s
	default_bind keep/{$FAIRWAY_BIND}
}
{$FAIRWAY_LISTEN} {
	log
	log_sample 50%
	request_id
	header X-Config VERSION
	cors {
		origins https://app.example
		expose X-Config
	}
	health /health {
		details 192.0.2.0/24
		upstream origin http://{$ORIGIN}/
	}
	route {
		encode {
			br
			minimum_length 1
		}
		error /lost 404
		reverse_proxy {$ORIGIN}
	}
	handle_errors {
		problem {
			status 404 {
				detail VERSION
			}
		}
	}
}
`

var madeID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// hostileEdge is what clients try on the edge's modules: ids and addresses made
// up, a field nominated away, an Accept that is longer than what is read of it.
// All of it fits into one write: a client can then send it again if a reload closes
// an idle connection under it, which HTTP/1.1 always allows.
func hostileEdge(r request) request {
	return r.with("X-Request-Id", `a","status":"200`).with("X-Forwarded-For", "192.0.2.7").
		with("Connection", "X-Request-ID, X-Forwarded-For").with("Origin", "https://app.example.evil.example").
		with("Accept", strings.Repeat("text/html;q=0, ", 100)+"*/*;q=0.001").with("Accept-Encoding", "br")
}

// wantEdge says what is wrong with an answer to hostileEdge.
func wantEdge(a answer) error {
	id := a.header.Get("X-Request-Id")
	switch {
	case !madeID.MatchString(id):
		return fmt.Errorf("request id %q is not one of ours", id)
	case a.header.Get("Access-Control-Allow-Origin") != "":
		return fmt.Errorf("a foreign origin is allowed")
	case a.status == http.StatusNotFound && a.header.Get("Content-Type") == "application/problem+json":
		return nil
	case a.status != http.StatusOK:
		return fmt.Errorf("status %d", a.status)
	case strings.Contains(a.body, `"latency_ms"`):
		return fmt.Errorf("a stranger sees the details of health")
	case a.header.Get("X-Echo") != "" && a.header.Get("X-Echo") != id:
		return fmt.Errorf("the upstream got the id %q, the client %q", a.header.Get("X-Echo"), id)
	}
	return nil
}

// Reloads, good and rejected, of every module of the edge under load of hostile
// clients: no request fails, and what is rejected changes nothing.
func TestEdge_ReloadsUnderHostileLoad(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			events(w, r)
			return
		}
		w.Header().Set("X-Echo", cmp.Or(r.Header.Get("X-Request-Id"), "none"))
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(func() { upstream.CloseClientConnections(); upstream.Close() })
	version := func(v string) string { return strings.ReplaceAll(edgeReloadConfig, "VERSION", v) }
	g := startGateway(t, version("first"), "ORIGIN="+strings.TrimPrefix(upstream.URL, "http://"))
	streamsBrotli(t, g)

	paths := []string{"/plain", "/lost", "/health"}
	load := startTraffic(t, 3, func(_, n int) request { return hostileEdge(get(g.url + paths[n%len(paths)])) }, wantEdge)
	want := func(v string) {
		t.Helper()
		load.flow(t, 30)
		get(g.url+"/plain").send(t).want(t, http.StatusOK).wantHeader(t, "X-Config", v)
		if a := get(g.url+"/lost").send(t).want(t, http.StatusNotFound); !strings.Contains(a.body, `"detail":"`+v+`"`) {
			t.Errorf("want version %s: %s", v, a)
		}
	}
	want("first")
	g.load(version("second")).want(t, http.StatusOK)
	want("second")
	for option, wrong := range map[string]string{
		"log_sample 50%":                  "log_sample 500%",
		"\trequest_id\n":                  "\trequest_id {\n\ttrust 10.0.0.0/99\n}\n",
		"origins https://app.example":     "origins app.example/path",
		"details 192.0.2.0/24":            "details 192.0.2.0/99",
		"\t\t\tbr\n":                      "\t\t\tbr 99\n",
		"status 404":                      "status 200",
		"upstream origin http://{$ORIGIN": "upstream origin ftp://{$ORIGIN",
	} {
		config := strings.Replace(version("third"), option, wrong, 1)
		if a := g.load(config); a.status != http.StatusBadRequest {
			t.Errorf("%s was loaded: %s", wrong, a)
		}
		want("second")
	}
	load.end(t)
}

// streamsBrotli reads the first event of a stream that has no end.
func streamsBrotli(t *testing.T, g *gateway) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "br")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, len("data: 0\n\n"))
	if _, err := io.ReadFull(brotli.NewReader(resp.Body), first); err != nil || string(first) != "data: 0\n\n" {
		t.Errorf("Content-Encoding %q, first event %q, %v", resp.Header.Get("Content-Encoding"), first, err)
	}
	if got := resp.Header.Get("Content-Encoding"); got != "br" {
		t.Errorf("Content-Encoding %q, want br", got)
	}
}

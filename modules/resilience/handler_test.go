package resilience

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(staleMaker{})
	httpcaddyfile.RegisterHandlerDirective("stale_maker", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return staleMaker{}, nil })
}

// staleMaker stands for a cache that has an expired response for /old.
type staleMaker struct{}

func (staleMaker) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.stale_maker", New: func() caddy.Module { return new(staleMaker) }}
}

func (staleMaker) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	caddyhttp.SetVar(r.Context(), gateway.VarStale, gateway.StaleFunc(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/old" {
			return false
		}
		fmt.Fprint(w, "old but good")
		return true
	}))
	return next.ServeHTTP(w, r)
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestHandler_TotalTimeoutAnswers504(t *testing.T) {
	o := newOrigin(t, hang)
	for name, transport := range map[string]string{"resilient": "transport resilient", "http": ""} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, fmt.Sprintf(`resilience {
				timeout 80ms
			}
			reverse_proxy %s {
				%s
			}`, o.addr, transport))
			if a := p.get("/"); a.status != 504 || a.took < 80*time.Millisecond {
				t.Errorf("a hanging upstream: %d after %s, want 504 after 80ms", a.status, a.took)
			}
		})
	}
}

// reverse_proxy's own retries end with the total timeout too: nobody would wait
// for their answers.
func TestHandler_TotalTimeoutEndsReverseProxysRetries(t *testing.T) {
	for name, transport := range map[string]string{"resilient": "transport resilient", "http": ""} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				hang(w, r)
			})
			p := startProxy(t, fmt.Sprintf(`resilience {
				timeout 300ms
			}
			reverse_proxy %s {
				lb_try_duration 1h
				lb_retries 5
				lb_try_interval 1ms
				fail_duration 1h
				%s
			}`, o.addr, transport))
			if a := p.get("/"); a.status != 504 {
				t.Errorf("a hanging upstream: %d, want 504", a.status)
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("the upstream was asked %d times, want once", n)
			}
			// the upstream is not taken out by what was our own decision
			if a := p.get("/"); a.status != 504 {
				t.Errorf("the next request: %d, want 504 of an upstream that is still there", a.status)
			}
		})
	}
}

// reverse_proxy takes a request that is cancelled while it dials for one whose
// client went away, and answers 499 itself.
func TestHandler_TotalTimeoutWhileDialing(t *testing.T) {
	h := &Handler{Timeout: caddy.Duration(20 * time.Millisecond)}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		w.WriteHeader(499)
		return nil
	}))
	if gateway.StatusOf(err) != 504 || w.Body.Len() > 0 {
		t.Errorf("%v, want a 504", err)
	}
}

func TestHandler_TimeoutEndsWithTheHeaders(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "first ")
		w.(http.Flusher).Flush()
		time.Sleep(1200 * time.Millisecond)
		fmt.Fprint(w, "last")
	})
	p := startProxy(t, fmt.Sprintf(`resilience {
		timeout 1s
		fallback respond 503 sorry
	}
	reverse_proxy %s`, o.addr))
	if a := p.get("/"); a.status != 200 || a.body != "first last" {
		t.Errorf("a slow body: %d %q", a.status, a.body)
	}
}

func TestHandler_FallbacksInOrder(t *testing.T) {
	o := newOrigin(t, nil)
	o.kill()
	p := startProxy(t, fmt.Sprintf(`route {
		stale_maker
		resilience {
			fallback stale
			fallback respond 503 "{\"later\":true}" application/json
		}
		reverse_proxy %s {
			lb_policy resilient
			transport resilient {
				breaker 1 failures open 1m
			}
		}
	}`, o.addr))
	for range 3 { // the first by a failed dial, the others by the breaker
		a := p.get("/old")
		if a.status != 200 || a.body != "old but good" || a.header.Get("Fairway-Fallback") != "stale" || a.header.Get("Retry-After") != "" {
			t.Errorf("stale: %d %q %v", a.status, a.body, a.header)
		}
	}
	a := p.get("/new")
	if a.status != 503 || a.body != `{"later":true}` || a.header.Get("Content-Type") != "application/json" ||
		a.header.Get("Fairway-Fallback") != "respond" || a.header.Get("Retry-After") != "60" {
		t.Errorf("respond: %d %q %v", a.status, a.body, a.header)
	}
	eventually(t, "the log names the fallback", func() bool {
		return strings.Contains(p.logged(), `"fallback":"stale"`) && strings.Contains(p.logged(), `"fallback":"respond"`)
	})
}

func TestHandler_FallbackWithoutBodyIsAnError(t *testing.T) {
	o := newOrigin(t, nil)
	o.kill()
	p := startProxy(t, fmt.Sprintf(`route {
		resilience {
			fallback respond
		}
		reverse_proxy %s
	}
	handle_errors {
		respond "made by the error routes: {err.status_code} {http.vars.fairway.error}"
	}`, o.addr))
	if a := p.get("/"); a.status != 503 || a.body != "made by the error routes: 503 Service unavailable" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

func TestHandler_FallsBackOnlyOnFailure(t *testing.T) {
	o := newOrigin(t, status(500))
	p := startProxy(t, fmt.Sprintf(`route {
		resilience {
			fallback respond 503 sorry
		}
		error /404 404
		error /503 503
		reverse_proxy %s
	}`, o.addr))
	for path, want := range map[string]int{"/404": 404, "/503": 503, "/": 500} {
		a := p.get(path)
		if a.status != want || (a.body == "sorry") != (path == "/503") {
			t.Errorf("%s: %d %q, want %d", path, a.status, a.body, want)
		}
	}
}

func TestHandler_BulkheadQueuesAndSheds(t *testing.T) {
	gate := make(chan struct{})
	o := newOrigin(t, func(http.ResponseWriter, *http.Request) { <-gate })
	p := startProxy(t, fmt.Sprintf(`resilience {
		bulkhead 2 queue 2 wait 10s
	}
	reverse_proxy %s`, o.addr))
	var fine, shed atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		parallel(10, func() {
			switch a := p.get("/"); a.status {
			case 200:
				fine.Add(1)
			case 503:
				if a.header.Get("Retry-After") == "" {
					t.Error("a shed request has no Retry-After")
				}
				shed.Add(1)
			}
		})
	}()
	eventually(t, "six requests are shed", func() bool { return shed.Load() == 6 })
	if got := o.hits.Load(); got != 2 {
		t.Errorf("the upstream has %d requests at once, want 2", got)
	}
	close(gate)
	<-done
	if fine.Load() != 4 || shed.Load() != 6 {
		t.Errorf("%d answered and %d shed, want 4 and 6", fine.Load(), shed.Load())
	}
}

func TestHandler_BulkheadIsFreedByPanicsAndClients(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	p := startProxy(t, fmt.Sprintf(`resilience {
		bulkhead 1
	}
	reverse_proxy %s {
		transport resilient {
			breaker off
		}
	}`, o.addr))
	impatient := http.Client{Timeout: 20 * time.Millisecond}
	for range 5 {
		eventually(t, "the only place is free", func() bool {
			_, err := p.try(http.MethodGet, "/", "")
			return err != nil // half a body
		})
		if _, err := impatient.Get("http://" + p.addr + "/hang"); err == nil {
			t.Fatal("a hanging upstream answered")
		}
	}
	o.set(func(http.ResponseWriter, *http.Request) {})
	eventually(t, "the only place is free for good", func() bool { return p.get("/").status == 200 })
}

// upgradeEcho answers an upgrade and then echoes lines.
func upgradeEcho(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	rw.Flush()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprint(rw, "echo "+line)
		rw.Flush()
	}
}

func TestTransport_UpgradesPassAndHoldNothing(t *testing.T) {
	o := newOrigin(t, upgradeEcho)
	p := startProxy(t, fmt.Sprintf(`resilience {
		timeout 1s
		bulkhead 1
	}
	reverse_proxy %s {
		lb_policy resilient
		transport resilient {
			try_timeout 1s
		}
	}`, o.addr))
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: "+p.addr+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	if line, _ := r.ReadString('\n'); !strings.Contains(line, "101") {
		t.Fatalf("the upgrade was answered with %q", line)
	}
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(1200 * time.Millisecond) // longer than both timeouts
	fmt.Fprint(conn, "hello\n")
	if line, err := r.ReadString('\n'); line != "echo hello\n" {
		t.Fatalf("after the timeouts: %q, %v", line, err)
	}
	o.set(func(http.ResponseWriter, *http.Request) {})
	p.wantStatuses(200) // though the bulkhead has one place only
	if got := state(t, "default", o.addr).inFlight.Load(); got != 0 {
		t.Errorf("an upgraded connection counts as %d tries in flight", got)
	}
}

func TestPart_ShowsAndForcesBreakers(t *testing.T) {
	o := newOrigin(t, nil)
	p := startProxy(t, breakerSite("1m", o.addr))
	actor := gateway.Active().Parts()[0].(gateway.Actor)
	act := func(action, args string) (string, error) {
		result, err := actor.Act(t.Context(), action, json.RawMessage(args))
		b, _ := json.Marshal(result)
		return string(b), err
	}
	target := fmt.Sprintf(`{"upstream":%q}`, o.addr)
	if got, err := act("open", target); err != nil || !strings.Contains(got, o.addr) {
		t.Fatalf("open: %s, %v", got, err)
	}
	p.wantStatuses(503)
	b, _ := json.Marshal(actor.Snapshot())
	if !strings.Contains(string(b), `"state":"open"`) || !strings.Contains(string(b), `"forced":true`) {
		t.Errorf("snapshot of a forced breaker: %s", b)
	}
	act("reset", "")
	p.wantStatuses(200)
	if got, err := act("open", `{"all":true}`); err != nil || !strings.Contains(got, o.addr) {
		t.Errorf("open all: %s, %v", got, err)
	}
	p.wantStatuses(503)
	act("reset", "")
	o.set(status(500))
	act("close", target)
	p.wantStatuses(500, 500, 500, 500, 500, 500, 500)
	if _, err := act("open", `{"upstream":"127.0.0.1:1"}`); !errors.Is(err, gateway.ErrNotMine) {
		t.Errorf("an unknown upstream: %v", err)
	}
	if _, err := act("explode", ""); !errors.Is(err, gateway.ErrUnknownAction) {
		t.Errorf("an unknown action: %v", err)
	}
	var mistake *gateway.ArgumentError
	for _, args := range []string{``, `{}`, `{"upsteam":"x"}`, `"x"`, `{"upstream":1}`, `{"upstream":"x","all":true}`} {
		if _, err := act("open", args); !errors.As(err, &mistake) {
			t.Errorf("arguments %s: %v, want a mistake of the caller", args, err)
		}
	}
}

func TestTransport_HasMetrics(t *testing.T) {
	o := newOrigin(t, nil)
	p := startProxy(t, breakerSite("1m", o.addr)+"\nmetrics /metrics")
	o.kill()
	p.wantStatuses(502, 502, 502, 502, 502, 503)
	got := p.get("/metrics").body
	for _, want := range []string{
		`fairway_resilience_breaker_state{name="default",upstream="` + o.addr + `"} 1`,
		`fairway_resilience_in_flight{name="default",upstream="` + o.addr + `"} 0`,
		`fairway_resilience_breaker_transitions_total{name="default",to="open"}`,
		`fairway_resilience_tries_total{name="default",outcome="failure"}`,
		`fairway_resilience_refused_total{name="default",reason="open"}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestSentry_SeesTheFirstByteHoweverItIsWritten(t *testing.T) {
	for name, write := range map[string]func(http.ResponseWriter){
		"Write":       func(w http.ResponseWriter) { w.Write([]byte("x")) },
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(204) },
		"ReadFrom":    func(w http.ResponseWriter) { w.(io.ReaderFrom).ReadFrom(strings.NewReader("x")) },
		"Flush":       func(w http.ResponseWriter) { http.NewResponseController(w).Flush() },
	} {
		s := new(sentry)
		s.ResponseWriter = httptest.NewRecorder()
		if write(s); !s.wrote {
			t.Errorf("%s went unseen", name)
		}
	}
	s := new(sentry)
	s.ResponseWriter = httptest.NewRecorder()
	if s.WriteHeader(http.StatusEarlyHints); s.wrote {
		t.Error("an informational status passed for the response")
	}
}

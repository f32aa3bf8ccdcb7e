package ratelimit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"

	"github.com/fairway-gateway/fairway/modules/gateway"
	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// node is one loaded config: its fairway app and what handlers were loaded.
type node struct {
	t     testing.TB
	ctx   caddy.Context
	close func()
}

// newNode loads a config as Caddy does, with Redis if url is not empty.
func newNode(t testing.TB, url string) *node {
	t.Helper()
	if url == "" {
		return newNodeWith(t, `{}`)
	}
	return newNodeWith(t, fmt.Sprintf(`{"redis":{"url":%q,"timeout":"500ms"}}`, url))
}

// newNodeWith is newNode with any config of the fairway app.
func newNodeWith(t testing.TB, app string) *node {
	t.Helper()
	apps := caddy.ModuleMap{"fairway": json.RawMessage(app)}
	base, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		AppsRaw: apps,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(base)
	n := &node{t: t, ctx: ctx}
	closed := false
	n.close = func() {
		if !closed {
			closed = true
			cancel()
		}
	}
	t.Cleanup(n.close)
	return n
}

// load provisions a handler from its Caddyfile, through JSON as a real load.
func (n *node) load(block string) (*Handler, error) {
	n.t.Helper()
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(block)); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(h)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.loadJSON(string(raw))
}

func (n *node) loadJSON(raw string) (*Handler, error) {
	v, err := n.ctx.LoadModuleByID("http.handlers.rate_limit", json.RawMessage(raw))
	if err != nil {
		return nil, err
	}
	return v.(*Handler), nil
}

func (n *node) mustLoad(block string) *Handler {
	n.t.Helper()
	h, err := n.load(block)
	if err != nil {
		n.t.Fatal(err)
	}
	return h
}

// zoneName is unique, since zones live on in the process.
func zoneName() string { return "z" + uuid.NewString()[:8] }

// answer is what a client sees, and what the error routes do.
type answer struct {
	status int
	header http.Header
	vars   map[string]any
	err    error
}

func respond(status int) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(status)
		return nil
	})
}

// request sends one request through a handler. Each header is "Name: value".
func request(h *Handler, next caddyhttp.Handler, method, target string, headers ...string) answer {
	r := httptest.NewRequest(method, target, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	repl := caddyhttp.NewTestReplacer(r)
	r = caddyhttp.PrepareRequest(r, repl, w, &caddyhttp.Server{})
	err := h.ServeHTTP(w, r, next)
	a := answer{status: w.Code, header: w.Header(), err: err}
	a.vars, _ = r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	var he caddyhttp.HandlerError
	if errors.As(err, &he) {
		a.status = he.StatusCode
	}
	return a
}

func get(h *Handler, target string, headers ...string) answer {
	return request(h, respond(200), "GET", target, headers...)
}

// statuses sends n equal requests.
func statuses(n int, h *Handler, target string, headers ...string) string {
	var all []string
	for range n {
		all = append(all, strconv.Itoa(get(h, target, headers...).status))
	}
	return strings.Join(all, " ")
}

// backends runs a test without Redis and with a real one.
func backends(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("memory", func(t *testing.T) { test(t, "") })
	t.Run("redis", func(t *testing.T) { test(t, redistest.Start(t).URL()) })
}

func TestHandler_RefusesBeyondTheLimit(t *testing.T) {
	backends(t, func(t *testing.T, url string) {
		zone := zoneName()
		h := newNode(t, url).mustLoad(`rate_limit {
			zone ` + zone + ` {
				key {http.request.header.X-User}
				events 5
				window 15m
			}
		}`)
		for i := range 5 {
			a := get(h, "/", "X-User: a")
			if a.status != 200 {
				t.Fatalf("request %d: status %d, error %v", i, a.status, a.err)
			}
			if got, want := a.header.Get("RateLimit-Policy"), fmt.Sprintf("%q;q=5;w=900", zone); got != want {
				t.Errorf("RateLimit-Policy = %s, want %s", got, want)
			}
			if got, want := a.header.Get("RateLimit"), fmt.Sprintf("%q;r=%d;t=", zone, 4-i); !strings.HasPrefix(got, want) {
				t.Errorf("RateLimit = %s, want %s…", got, want)
			}
		}
		a := get(h, "/", "X-User: a")
		if a.status != 429 || a.vars[gateway.VarError] != "Too many requests" || a.vars[gateway.VarZone] != zone {
			t.Fatalf("sixth request: %+v", a)
		}
		details, _ := a.vars[gateway.VarDetails].([]gateway.Detail)
		if len(details) != 1 || details[0].Field != zone || details[0].Message != "more than 5/15m" {
			t.Errorf("details = %+v, want the violated policy", details)
		}
		retry, _ := strconv.Atoi(a.header.Get("Retry-After"))
		_, reset, _ := strings.Cut(a.header.Get("RateLimit"), ";t=")
		if at, _ := strconv.Atoi(reset); retry < at || retry < 600 || retry > 990 {
			t.Errorf("Retry-After %d, RateLimit t=%s, want Retry-After of about a window and not below t", retry, reset)
		}
		if b := get(h, "/", "X-User: b"); b.status != 200 {
			t.Errorf("another user was refused: %v", b.err)
		}
	})
}

func TestHandler_TwoNodesShareOneLimit(t *testing.T) {
	url := redistest.Start(t).URL()
	block := `rate_limit {
		zone ` + zoneName() + ` {
			key x
			rate 10/1m
		}
	}`
	a, b := newNode(t, url).mustLoad(block), newNode(t, url).mustLoad(block)
	// Both live in this process: give one its own memory, as another process has.
	b.zones[0].limiter.state = newState(12, false)
	admitted := 0
	for range 20 {
		for _, h := range []*Handler{a, b} {
			if get(h, "/").status == 200 {
				admitted++
			}
		}
	}
	if admitted != 10 {
		t.Errorf("two nodes admitted %d of 10/1m together", admitted)
	}
}

func TestHandler_ReloadKeepsCounts(t *testing.T) {
	backends(t, func(t *testing.T, url string) {
		zone := zoneName()
		block := func(events int) string {
			return fmt.Sprintf("rate_limit {\nzone %s {\nevents %d\nwindow 1h\n}\n}", zone, events)
		}
		old := newNode(t, url)
		h := old.mustLoad(block(3))
		if got := statuses(2, h, "/"); got != "200 200" {
			t.Fatal(got)
		}

		// A rejected reload takes and gives back; the live config goes on.
		rejected := newNode(t, url)
		if _, err := rejected.load(block(3)); err != nil {
			t.Fatal(err)
		}
		if _, err := rejected.loadJSON(`{"rate_limits":{"` + zone + `":{"events":1}}}`); err == nil {
			t.Fatal("a zone without a window was accepted")
		}
		rejected.close()
		if got := statuses(2, h, "/"); got != "200 429" {
			t.Fatalf("after a rejected reload: %s, want 200 429", got)
		}

		// A reload that raises the limit keeps the counts.
		h2 := newNode(t, url).mustLoad(block(5))
		old.close()
		if got := statuses(3, h2, "/"); got != "200 200 429" {
			t.Errorf("after raising 3 to 5: %s, want 200 200 429", got)
		}
	})
}

func TestHandler_CleanupFreesTheZone(t *testing.T) {
	n := newNode(t, "")
	zone := zoneName()
	h := n.mustLoad("rate_limit {\nzone " + zone + " {\nrate 1/1h\n}\n}")
	if got := statuses(2, h, "/"); got != "200 429" {
		t.Fatal(got)
	}
	n.close()
	h = newNode(t, "").mustLoad("rate_limit {\nzone " + zone + " {\nrate 1/1h\n}\n}")
	if got := statuses(1, h, "/"); got != "200" {
		t.Errorf("a zone that no config used kept its counts: %s", got)
	}
}

func TestHandler_ZonesOfOneNameCountTogether(t *testing.T) {
	n, zone := newNode(t, ""), zoneName()
	block := "rate_limit {\nzone " + zone + " {\nrate 3/1h\n}\n}"
	a, b := n.mustLoad(block), n.mustLoad(block)
	if got := statuses(2, a, "/") + " " + statuses(2, b, "/"); got != "200 200 200 429" {
		t.Errorf("two routes with one zone: %s, want 200 200 200 429", got)
	}
	_, err := n.load("rate_limit {\nzone " + zone + " {\nrate 3/1h\nslots 60\n}\n}")
	if err == nil || !strings.Contains(err.Error(), "other slots") {
		t.Errorf("contradictory slots: got %v", err)
	}
}

func TestHandler_AZoneThatRefusesChargesNoOther(t *testing.T) {
	backends(t, func(t *testing.T, url string) {
		all, user := zoneName(), zoneName()
		h := newNode(t, url).mustLoad(`rate_limit {
			zone ` + all + ` {
				key everybody
				rate 5/1h
			}
			zone ` + user + ` {
				key {http.request.header.X-User}
				rate 2/1h
			}
		}`)
		if got := statuses(10, h, "/", "X-User: greedy"); !strings.HasPrefix(got, "200 200 429 429") {
			t.Fatal(got)
		}
		if got := statuses(2, h, "/", "X-User: b") + " " + statuses(2, h, "/", "X-User: c"); got != "200 200 200 429" {
			t.Errorf("others got %s, want 200 200 200 429: refused requests must not use up the common zone", got)
		}
	})
}

func TestHandler_Tiers(t *testing.T) {
	h := newNode(t, "").mustLoad(`rate_limit {
		zone ` + zoneName() + ` {
			key {http.request.header.X-User}
			tier {http.request.header.X-Plan} {
				pro 3/1h 4/1d
				*   1/1h
			}
		}
	}`)
	if got := statuses(4, h, "/", "X-User: a", "X-Plan: pro"); got != "200 200 200 429" {
		t.Errorf("pro: %s", got)
	}
	if got := statuses(2, h, "/", "X-User: b", "X-Plan: other"); got != "200 429" {
		t.Errorf("other: %s", got)
	}
	if a := get(h, "/", "X-User: c", "X-Plan: pro"); !strings.Contains(a.header.Get("RateLimit-Policy"), `-1h";q=3;w=3600, "`) {
		t.Errorf("RateLimit-Policy of two windows: %s", a.header.Get("RateLimit-Policy"))
	}
	// A user who changes plan keeps what was counted in windows of that length.
	if got := statuses(1, h, "/", "X-User: b", "X-Plan: pro") + " " + statuses(1, h, "/", "X-User: a"); got != "200 429" {
		t.Errorf("changing plans: %s", got)
	}
}

func TestHandler_EmptyKeys(t *testing.T) {
	for _, tc := range []struct{ option, want string }{
		{"", "429 429"},
		{"on_empty deny", "429 429"},
		{"on_empty skip", "200 200"},
		{"on_empty share", "200 429"},
	} {
		h := newNode(t, "").mustLoad("rate_limit {\nzone " + zoneName() + " {\nkey {http.request.header.X-User}\nrate 1/1h\n" + tc.option + "\n}\n}")
		if got := statuses(2, h, "/"); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.option, got, tc.want)
		}
	}
}

func TestHandler_MatchAndExempt(t *testing.T) {
	h := newNode(t, "").mustLoad(`rate_limit {
		zone ` + zoneName() + ` {
			match {
				path /api/*
			}
			exempt {
				header X-Probe yes
			}
			rate 1/1h
		}
	}`)
	if got := statuses(2, h, "/other") + " " + statuses(2, h, "/api/x", "X-Probe: yes") + " " + statuses(2, h, "/api/x"); got != "200 200 200 200 200 429" {
		t.Errorf("got %s", got)
	}
	if a := get(h, "/other"); a.header.Get("RateLimit") != "" {
		t.Error("a request that the zone does not concern has its header")
	}
}

func TestHandler_Headers(t *testing.T) {
	zone := func() string { return "zone " + zoneName() + " {\nrate 2/1h\n}\n" }
	legacy := newNode(t, "").mustLoad("rate_limit {\nheaders legacy\n" + zone() + "}")
	a := get(legacy, "/")
	if a.header.Get("RateLimit-Limit") != "2" || a.header.Get("RateLimit-Remaining") != "1" || a.header.Get("RateLimit-Reset") == "" || a.header.Get("RateLimit") != "" {
		t.Errorf("legacy: %v", a.header)
	}
	off := newNode(t, "").mustLoad("rate_limit {\nheaders off\n" + zone() + "}")
	if a := get(off, "/"); len(a.header) != 0 {
		t.Errorf("off: %v", a.header)
	}
	get(off, "/")
	if a := get(off, "/"); a.header.Get("Retry-After") == "" {
		t.Error("off: a refusal has no Retry-After")
	}
	two := newNode(t, "").mustLoad("rate_limit {\n" + zone() + zone() + "}")
	if a := get(two, "/"); len(a.header["Ratelimit"]) != 2 || len(a.header["Ratelimit-Policy"]) != 2 {
		t.Errorf("two zones: %v", a.header)
	}
}

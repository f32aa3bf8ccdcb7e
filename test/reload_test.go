package test

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// reloadConfig is one version of a config with everything that must outlive a
// reload: counters, cached responses, an open breaker, open streams.
func reloadConfig(o *origin, dead *deadEnd, version int) string {
	return strings.NewReplacer(
		"ORIGIN", o.addr, "DEAD", dead.addr, "VERSION", strconv.Itoa(version),
	).Replace(`
{
	admin {$FAIRWAY_ADMIN}
	grace_period 30s
	default_bind keep/{$FAIRWAY_BIND}
}
{$FAIRWAY_LISTEN} {
	header X-Config VERSION
	route {
		rate_limit {
			zone counted {
				key {header.X-Client}
				events 1000000
				window 15m
			}
			zone few {
				match {
					path /few
				}
				key {client_ip}
				events 2
				window 15m
			}
		}
		cache {
			max_size 64MiB
		}
		resilience /dead* {
			timeout 5s
		}
		reverse_proxy /dead* DEAD {
			lb_policy resilient {
				policy first
			}
			transport resilient {
				name dead
				breaker 3 failures open 1h
			}
		}
		reverse_proxy ORIGIN {
			stream_close_delay 5m
			lb_policy resilient {
				policy first
			}
			transport resilient {
				breaker 5 failures open 60s
			}
		}
	}
	handle_errors {
		problem
	}
}
`)
}

// Twenty reloads under load: no request fails, and nothing is forgotten.
func TestReload_UnderLoadKeepsEverything(t *testing.T) {
	o, dead := startOrigin(t), startDeadEnd(t, "")
	g := startGateway(t, reloadConfig(o, dead, 0))
	before := fillState(t, g, o, dead)
	ws, sse := openStreams(t, g)

	const workers = 4
	load := startTraffic(t, workers, func(worker, n int) request {
		client := fmt.Sprintf("worker-%d", worker)
		switch n % 4 {
		case 0:
			return get(g.url+"/plain").with("X-Client", client)
		case 1:
			return get(g.url+"/plain").with("X-Client", client).with("Connection", "close")
		case 2:
			return get(fmt.Sprintf("%s/cached/%d", g.url, n%50)).with("X-Client", client)
		}
		// The client may send it again if the reload closes an idle connection
		// under it, which HTTP/1.1 always allows.
		return post(g.url+"/plain", `{"n":1}`).with("X-Client", client).with("Idempotency-Key", strconv.Itoa(n))
	}, wantStatus(http.StatusOK))
	for version := 1; version <= 20; version++ {
		load.flow(t, 20)
		g.load(reloadConfig(o, dead, version)).want(t, http.StatusOK)
		get(g.url+"/plain").with("X-Client", "tester").send(t).
			want(t, http.StatusOK).wantHeader(t, "X-Config", strconv.Itoa(version))
	}
	load.flow(t, 100)
	load.end(t)

	checkState(t, g, o, dead, before)
	for worker := range workers {
		wantCounted(t, g, fmt.Sprintf("worker-%d", worker), load.sentBy(worker))
	}
	ws.check(t)
	sse.check(t)
}

// state is what fillState put into the gateway.
type state struct {
	connections int32 // that the dead end saw before its breaker opened
}

// fillState spends a limit, stores a response and opens a breaker.
func fillState(t *testing.T, g *gateway, o *origin, dead *deadEnd) state {
	t.Helper()
	for range 3 {
		get(g.url+"/cached/kept").with("X-Client", "before").send(t).want(t, http.StatusOK)
	}
	for range 2 {
		get(g.url+"/few").with("X-Client", "before").send(t).want(t, http.StatusOK)
	}
	for range 3 {
		get(g.url+"/dead").with("X-Client", "before").send(t)
	}
	s := state{connections: dead.count.Load()}
	if s.connections < 3 {
		t.Fatalf("the dead upstream saw %d connections, want 3 or more", s.connections)
	}
	checkState(t, g, o, dead, s)
	return s
}

// checkState shows that the gateway knows all that fillState did.
func checkState(t *testing.T, g *gateway, o *origin, dead *deadEnd, s state) {
	t.Helper()
	get(g.url+"/cached/kept").with("X-Client", "check").send(t).
		want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit")
	if n := o.times("/cached/kept"); n != 1 {
		t.Errorf("the origin was asked %d times for what is cached, want once", n)
	}
	get(g.url+"/few").with("X-Client", "check").send(t).
		wantProblem(t, http.StatusTooManyRequests, "Too many requests")
	get(g.url+"/dead").with("X-Client", "check").send(t).want(t, http.StatusServiceUnavailable)
	if n := dead.count.Load(); n != s.connections {
		t.Errorf("the open breaker let %d connections through", n-s.connections)
	}
}

// wantCounted checks that the limit has charged this client n times.
func wantCounted(t *testing.T, g *gateway, client string, n int) {
	t.Helper()
	const events = 1_000_000
	a := get(g.url+"/plain").with("X-Client", client).send(t).want(t, http.StatusOK)
	if got := events - remaining(t, a, "counted"); got != n+1 {
		t.Errorf("%d requests of %s are counted, want %d; %s", got, client, n+1, a)
	}
}

// remaining reads r of a zone from RateLimit: "zone";r=N;t=N, ….
func remaining(t *testing.T, a answer, zone string) int {
	t.Helper()
	for _, field := range a.header.Values("RateLimit") {
		for item := range strings.SplitSeq(field, ",") {
			name, params, _ := strings.Cut(strings.TrimSpace(item), ";")
			if name != strconv.Quote(zone) {
				continue
			}
			for p := range strings.SplitSeq(params, ";") {
				if value, ok := strings.CutPrefix(strings.TrimSpace(p), "r="); ok {
					n, err := strconv.Atoi(value)
					if err != nil {
						t.Fatalf("RateLimit of zone %s: %v; %s", zone, err, a)
					}
					return n
				}
			}
		}
	}
	t.Fatalf("no RateLimit of zone %s; %s", zone, a)
	return 0
}

// A config that is refused, for whatever reason, leaves the running one alone.
func TestReload_RejectedConfigChangesNothing(t *testing.T) {
	o, dead := startOrigin(t), startDeadEnd(t, "")
	g := startGateway(t, reloadConfig(o, dead, 0))
	s := fillState(t, g, o, dead)
	config := g.config()
	load := startTraffic(t, 2, func(worker, _ int) request {
		return get(g.url+"/plain").with("X-Client", fmt.Sprintf("worker-%d", worker))
	}, wantStatus(http.StatusOK))

	good := reloadConfig(o, dead, 1)
	for name, edit := range map[string][2]string{
		"unknown directive":            {"cache {", "cash {"},
		"unknown option":               {"max_size 64MiB", "max_sighs 64MiB"},
		"contradiction at validation":  {"events 2\n", "events -2\n"},
		"failure after our modules":    {"handle_errors {", "tls /no/such.pem /no/such.key\n\thandle_errors {"},
		"a key that cannot be read":    {"cache {", "jwt_auth {\n issuer https://x {\n algorithms RS256\n audience x\n key {file./no/such/key}\n }\n }\n cache {"},
		"a listener that is taken":     {"{$FAIRWAY_LISTEN} {", "http://:" + port(dead.addr) + " {"},
		"a zone that exists twice":     {"zone few {", "zone counted {"},
		"the same breaker, impossible": {"breaker 3 failures open 1h", "breaker 0 failures open 1h"},
	} {
		if !strings.Contains(good, edit[0]) {
			t.Fatalf("%s: nothing to edit", name)
		}
		load.flow(t, 10)
		a := g.load(strings.Replace(good, edit[0], edit[1], 1))
		if a.status < 400 {
			t.Errorf("%s: accepted; %s", name, a)
		}
		if now := g.config(); now != config {
			t.Errorf("%s: the running config is now %s", name, now)
		}
		checkState(t, g, o, dead, s)
		get(g.url+"/plain").with("X-Client", "tester").send(t).wantHeader(t, "X-Config", "0")
	}
	load.flow(t, 20)
	load.end(t)
	for worker := range 2 {
		wantCounted(t, g, fmt.Sprintf("worker-%d", worker), load.sentBy(worker))
	}
}

func port(addr string) string {
	_, port, _ := strings.Cut(addr, ":")
	return port
}

// openStreams opens a WebSocket and an event stream.
func openStreams(t *testing.T, g *gateway) (*socket, *stream) {
	t.Helper()
	c, err := websocket.NewConfig("ws"+strings.TrimPrefix(g.url, "http")+"/echo", g.url)
	if err != nil {
		t.Fatal(err)
	}
	c.Header.Set("X-Client", "socket")
	ws, err := c.DialContext(t.Context())
	if err != nil {
		t.Fatalf("opening a WebSocket through the gateway: %v", err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	s := &socket{ws}
	s.check(t)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Client", "stream")
	// The stream may last as long as the test.
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		t.Fatalf("opening an event stream: %v", err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	e := &stream{lines: bufio.NewScanner(resp.Body), last: -1}
	e.next(t)
	return s, e
}

type socket struct{ ws *websocket.Conn }

// check sends a message and wants it back.
func (s *socket) check(t *testing.T) {
	t.Helper()
	_ = s.ws.SetDeadline(time.Now().Add(patience))
	sent, got := fmt.Sprintf("are you there at %d?", time.Now().UnixNano()), ""
	if err := websocket.Message.Send(s.ws, sent); err != nil {
		t.Errorf("the WebSocket is closed: %v", err)
		return
	}
	if err := websocket.Message.Receive(s.ws, &got); err != nil || got != sent {
		t.Errorf("the WebSocket answered %q, %v", got, err)
	}
}

type stream struct {
	lines *bufio.Scanner
	last  int
}

// next reads one event, which must follow the one before.
func (s *stream) next(t *testing.T) {
	t.Helper()
	for s.lines.Scan() {
		value, ok := strings.CutPrefix(s.lines.Text(), "data: ")
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(value); err != nil || n != s.last+1 {
			t.Errorf("event %q follows %d", value, s.last)
		}
		s.last++
		return
	}
	t.Fatalf("the event stream ended after %d events: %v", s.last+1, s.lines.Err())
}

// check reads what has come meanwhile and some that comes only now.
func (s *stream) check(t *testing.T) {
	t.Helper()
	for range 5 {
		s.next(t)
	}
	for begun := time.Now(); time.Since(begun) < 200*time.Millisecond; {
		s.next(t)
	}
}

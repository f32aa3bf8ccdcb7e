package resilience

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// site proxies to upstreams in the order given, with options of the transport.
func site(options string, upstreams ...*origin) string {
	var addrs []string
	for _, o := range upstreams {
		addrs = append(addrs, o.addr)
	}
	return fmt.Sprintf(`reverse_proxy %s {
		lb_policy resilient {
			policy first
		}
		transport resilient {
			%s
		}
	}`, strings.Join(addrs, " "), options)
}

func TestDialInfoKey_IsReverseProxys(t *testing.T) {
	ctx := context.WithValue(t.Context(), dialInfoKey, reverseproxy.DialInfo{Address: "x"})
	if di, ok := reverseproxy.GetDialInfo(ctx); !ok || di.Address != "x" {
		t.Errorf("reverse_proxy finds %+v, %t: it has renamed its context key", di, ok)
	}
}

func TestRetry_WhatNeverReachedAnUpstreamGoesToAnother(t *testing.T) {
	dead, alive := newOrigin(t, nil), newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Host, body)
	})
	p := startProxy(t, site("breaker 3 failures open 1m", dead, alive))
	dead.kill()
	for range 6 { // three failed dials, then the breaker
		if a := p.do(http.MethodPost, "/", "sent once"); a.status != 200 || a.body != p.addr+" sent once" {
			t.Fatalf("POST: %d %q", a.status, a.body)
		}
	}
	if first, extra := state(t, "default", dead.addr), uint64(0); first.breaker.State() != Open {
		t.Error("the dead upstream's breaker is closed", extra)
	}
}

func TestRetry_StatusesOfIdempotentRequests(t *testing.T) {
	bad, good := newOrigin(t, status(503)), newOrigin(t, nil)
	p := startProxy(t, site("breaker off\nretry 1 on 503", bad, good))
	if a := p.get("/"); a.status != 200 {
		t.Errorf("GET: %d, want 200 from the other upstream", a.status)
	}
	if a := p.do(http.MethodPut, "/", "body"); a.status != 200 {
		t.Errorf("PUT: %d, want 200 from the other upstream", a.status)
	}
	if a := p.do(http.MethodPost, "/", "body"); a.status != 503 {
		t.Errorf("POST: %d, want the 503 of the first upstream", a.status)
	}
	bad.set(status(500))
	if a := p.get("/"); a.status != 500 {
		t.Errorf("GET: %d, want the 500 that is not to be tried again", a.status)
	}
}

func TestRetry_SendsTheSameBodyAgain(t *testing.T) {
	body := strings.Repeat("0123456789", 3000)
	var got atomic.Int64
	check := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if string(b) == body && r.ContentLength == int64(len(body)) {
			got.Add(1)
		}
		w.WriteHeader(503)
	}
	o := newOrigin(t, check)
	p := startProxy(t, site("breaker off\nretry 2 on 503 {\nmethods POST\nbackoff 1ms\n}", o))
	if a := p.do(http.MethodPost, "/", body); a.status != 503 || got.Load() != 3 {
		t.Errorf("%d, with the whole body %d times; want 503 after 3", a.status, got.Load())
	}
}

func TestRetry_SendsABodyOverTheBufferOnce(t *testing.T) {
	body := strings.Repeat("0123456789", 3000)
	var got atomic.Int64
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); string(b) == body {
			got.Add(1)
		}
		w.WriteHeader(503)
	})
	p := startProxy(t, site("breaker off\nretry 2 on 503 {\nmethods POST\nbackoff 1ms\nbuffer 1kB\n}", o))
	if a := p.do(http.MethodPost, "/", body); a.status != 503 || got.Load() != 1 {
		t.Errorf("a body over the buffer's size: %d, %d times; want 503 after 1", a.status, got.Load())
	}
}

func TestRetry_IdempotencyKeyAllowsAnyMethod(t *testing.T) {
	bad, good := newOrigin(t, status(503)), newOrigin(t, nil)
	p := startProxy(t, site("breaker off\nretry 1 on 503 {\nidempotency_key\n}", bad, good))
	req, _ := http.NewRequest(http.MethodPost, "http://"+p.addr, strings.NewReader("pay"))
	req.Header.Set("Idempotency-Key", "1")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("with a key: %d, want 200", res.StatusCode)
	}
	if a := p.do(http.MethodPost, "/", "pay"); a.status != 503 {
		t.Errorf("without a key: %d, want 503", a.status)
	}
}

func TestRetry_ResetsAndTimeouts(t *testing.T) {
	for name, behave := range map[string]http.HandlerFunc{
		"reset": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		},
		"timeout": hang,
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newOrigin(t, behave), newOrigin(t, nil)
			p := startProxy(t, site("breaker off\ntry_timeout 1s\nretry 1 on "+name, bad, good))
			if a := p.get("/"); a.status != 200 {
				t.Errorf("GET: %d after %s", a.status, a.took)
			}
			if a := p.do(http.MethodPost, "/", "x"); a.status == 200 {
				t.Error("a POST that may have been carried out was sent again")
			}
		})
	}
}

func TestRetry_NeverAfterResponseBytes(t *testing.T) {
	half := newOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	good := newOrigin(t, nil)
	p := startProxy(t, site("breaker off\nretry 3", half, good))
	if a, err := p.try(http.MethodGet, "/", ""); err == nil {
		t.Errorf("half a response was completed: %d %q", a.status, a.body)
	}
	if good.hits.Load() != 0 {
		t.Error("another upstream was asked after response bytes")
	}
}

func TestRetry_HonoursRetryAfter(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(503)
	})
	p := startProxy(t, site("breaker off\nretry 1 on 503 {\nbackoff 1ms 2s\n}", o))
	if a := p.get("/"); a.took < time.Second || o.hits.Load() != 2 {
		t.Errorf("asked %d times within %s, want twice with a second between", o.hits.Load(), a.took)
	}
	if err := p.load(site("breaker off\nretry 1 on 503 {\nbackoff 1ms 10ms\n}", o)); err != nil {
		t.Fatal(err)
	}
	if a := p.get("/"); a.status != 503 || o.hits.Load() != 3 {
		t.Error("an upstream was asked again before it wanted to be")
	}
}

func TestRetry_BudgetBoundsAmplification(t *testing.T) {
	o := newOrigin(t, status(503))
	p := startProxy(t, site("breaker off\nretry 3 on 503 budget 20% min 1 {\nbackoff 1ms 1ms\n}", o))
	for range 500 {
		p.get("/")
	}
	if hits := o.hits.Load(); hits > 601 || hits < 590 {
		t.Errorf("500 requests to a failing upstream became %d, want 600", hits)
	}
}

// A retry must not turn a rotation further: with one upstream that fails, all
// first tries would go to it.
func TestRetry_LeavesTheRotationAlone(t *testing.T) {
	bad, good := newOrigin(t, status(503)), newOrigin(t, nil)
	for _, policy := range []string{"round_robin", "weighted_round_robin 1 1"} {
		t.Run(policy, func(t *testing.T) {
			p := startProxy(t, strings.Replace(site("breaker off\nretry 1 min 100 {\nbackoff 1ms 1ms\n}", bad, good), "policy first", "policy "+policy, 1))
			before := bad.hits.Load()
			for range 20 {
				p.wantStatuses(200)
			}
			if n := bad.hits.Load() - before; n != 10 {
				t.Errorf("the upstream that fails was asked first for %d of 20 requests, want 10", n)
			}
		})
	}
}

// Whatever the policy, a retry goes to an upstream that has not been tried.
func TestRetry_UnderEveryPolicy(t *testing.T) {
	bad, good := newOrigin(t, status(503)), newOrigin(t, nil)
	for _, policy := range []string{
		"random", "random_choose 2", "least_conn", "first", "round_robin", "weighted_round_robin 5 1",
		"ip_hash", "client_ip_hash", "uri_hash", "header User-Agent", "query tenant", "cookie lb",
	} {
		t.Run(policy, func(t *testing.T) {
			p := startProxy(t, strings.Replace(site("breaker off\nretry 1 min 100 {\nbackoff 1ms 1ms\n}", bad, good), "policy first", "policy "+policy, 1))
			for i := range 10 {
				if a := p.get(fmt.Sprint("/", i, "?tenant=", i)); a.status != 200 {
					t.Errorf("request %d: %d, want 200 from the upstream that works", i, a.status)
				}
			}
		})
	}
}

func TestRetry_KeepsTheWeights(t *testing.T) {
	bad, heavy, light := newOrigin(t, status(503)), newOrigin(t, nil), newOrigin(t, nil)
	p := startProxy(t, strings.Replace(site("breaker off\nretry 1 min 100 {\nbackoff 1ms 1ms\n}", bad, heavy, light), "policy first", "policy weighted_round_robin 100 9 1", 1))
	for range 100 { // the first of these all go to the upstream that fails
		p.wantStatuses(200)
	}
	if h, l := heavy.hits.Load(), light.hits.Load(); h+l != 100 || l > 40 {
		t.Errorf("of 100 retries %d and %d went to upstreams of weight 9 and 1", h, l)
	}
}

// The cookie names the upstream that the client's answer came from: one that a
// refused retry would have gone to is not named.
func TestRetry_CookieNamesWhoAnswered(t *testing.T) {
	bad, good := newOrigin(t, status(503)), newOrigin(t, nil)
	name := func(o *origin) string { // as the policy makes it with this secret
		p := startProxy(t, strings.Replace(site("", o), "policy first", "policy cookie lb secret", 1))
		return p.get("/").header.Get("Set-Cookie")
	}
	named := map[string]string{name(bad): "bad", name(good): "good"}
	for retry, wantRefused := range map[string]bool{"min 100": false, "budget 1% min 1": true} {
		p := startProxy(t, strings.Replace(site("breaker off\nretry 1 "+retry, bad, good), "policy first", "policy cookie lb secret", 1))
		refused := 0
		for range 60 {
			a := p.get("/")
			who := map[int]string{200: "good", 503: "bad"}[a.status]
			if set := a.header.Values("Set-Cookie"); len(set) != 1 || named[set[0]] != who {
				t.Fatalf("%s: %d with the cookies %q (%v)", retry, a.status, set, named)
			}
			if who == "bad" {
				refused++
			}
		}
		if refused > 0 != wantRefused {
			t.Errorf("%s: %d of 60 requests were not tried again", retry, refused)
		}
	}
}

func TestRetry_HostFollowsTheUpstream(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }
	dead, alive := newOrigin(t, nil), newOrigin(t, echo)
	p := startProxy(t, strings.Replace(site("", dead, alive), "lb_policy", "header_up Host {upstream_hostport}\nheader_down X-Upstream {http.reverse_proxy.upstream.hostport}\nlb_policy", 1))
	dead.kill()
	if a := p.get("/"); a.body != alive.addr || a.header.Get("X-Upstream") != alive.addr {
		t.Errorf("Host %q, placeholder %q, want %q for both", a.body, a.header.Get("X-Upstream"), alive.addr)
	}
}

func TestRetry_OneOfThreeDiesUnnoticed(t *testing.T) {
	a, b, c := newOrigin(t, nil), newOrigin(t, nil), newOrigin(t, nil)
	p := startProxy(t, strings.Replace(site("breaker 5 failures open 1m\nretry 2", a, b, c), "policy first", "policy round_robin", 1))
	var bad, sent atomic.Int64
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		eventually(t, "requests flow", func() bool { return sent.Load() > 200 })
		b.kill()
		eventually(t, "requests go on flowing", func() bool { return sent.Load() > 600 })
	}()
	parallel(8, func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			sent.Add(1)
			if a, err := p.try(http.MethodGet, "/", ""); err != nil || a.status != 200 {
				bad.Add(1)
				t.Log(a.status, a.body, err)
			}
		}
	})
	if bad.Load() > 0 {
		t.Errorf("%d of %d requests failed when one upstream died", bad.Load(), sent.Load())
	}
	u := state(t, "default", b.addr)
	if u.breaker.State() != Open {
		t.Errorf("the dead upstream's breaker is %s", u.breaker.State())
	}
}

func TestHedge_SecondUpstreamAnswersForASlowOne(t *testing.T) {
	slow, quick := newOrigin(t, hang), newOrigin(t, nil)
	p := startProxy(t, site("breaker off\nhedge 30ms", slow, quick)+"\nmetrics /metrics")
	a := p.get("/")
	if a.status != 200 || a.took < 30*time.Millisecond {
		t.Errorf("%d after %s, want 200 after 30ms", a.status, a.took)
	}
	eventually(t, "the slow try is cancelled", func() bool { return state(t, "default", slow.addr).inFlight.Load() == 0 })
	slow.set(func(w http.ResponseWriter, _ *http.Request) { time.Sleep(60 * time.Millisecond) })
	if a := p.do(http.MethodPost, "/", "x"); a.status != 200 || quick.hits.Load() > 1 {
		t.Errorf("a POST was hedged: %d", a.status)
	}
}

func TestHedge_FirstWinsAndTheHedgeIsCancelled(t *testing.T) {
	var cancelled atomic.Bool
	hedged := make(chan struct{})
	slow := newOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		<-hedged
		fmt.Fprint(w, "first")
	})
	slower := newOrigin(t, func(_ http.ResponseWriter, r *http.Request) {
		close(hedged)
		<-r.Context().Done()
		cancelled.Store(true)
	})
	p := startProxy(t, site("hedge 20ms", slow, slower))
	if a := p.get("/"); a.body != "first" {
		t.Errorf("%d %q", a.status, a.body)
	}
	eventually(t, "the hedge is cancelled", cancelled.Load)
	if f := state(t, "default", slower.addr).breaker.Facts(time.Now()); f.Failures != 0 {
		t.Errorf("a cancelled hedge counts as a failure: %+v", f)
	}
}

func TestHedge_HungUpstreamOpensItsBreaker(t *testing.T) {
	hung, quick := newOrigin(t, hang), newOrigin(t, nil)
	p := startProxy(t, site("try_timeout 1s\nbreaker 3 failures open 1m\nretry 1 on connect budget 100%\nhedge 10ms max 1", hung, quick))
	eventually(t, "its breaker is open", func() bool {
		if a := p.get("/"); a.status != 200 {
			t.Fatalf("%d %q", a.status, a.body)
		}
		return state(t, "default", hung.addr).breaker.State() == Open
	})
}

func TestHedge_ByQuantileCutsTheTail(t *testing.T) {
	o := newOrigin(t, nil)
	p := startProxy(t, site("hedge p95\nretry 1 on connect budget 100%", o))
	for range 100 {
		p.get("/")
	}
	time.Sleep(latencyRefresh)
	var n atomic.Int64
	o.set(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%50 == 0 {
			<-r.Context().Done() // without its hedge the request gets no answer
			return
		}
		fmt.Fprint(w, "ok")
	})
	for range 300 {
		p.wantStatuses(200)
	}
	if extra := n.Load() - 300; extra < 6 || extra > 150 {
		t.Errorf("%d hedges for 300 requests, 6 of which hang", extra)
	}
}

func TestBulkhead_PerUpstreamSendsTheRestElsewhere(t *testing.T) {
	gate := make(chan struct{})
	busy := newOrigin(t, func(http.ResponseWriter, *http.Request) { <-gate })
	free := newOrigin(t, nil)
	p := startProxy(t, site("bulkhead 6", busy, free))
	var fine atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		parallel(10, func() {
			if a := p.get("/"); a.status == 200 {
				fine.Add(1)
			} else {
				t.Errorf("%d %q", a.status, a.body)
			}
		})
	}()
	eventually(t, "four answers come from the other", func() bool { return fine.Load() == 4 })
	eventually(t, "the busy upstream has six requests", func() bool { return busy.hits.Load() == 6 })
	close(gate)
	<-done
	if err := p.load(site("bulkhead 1", busy)); err != nil {
		t.Fatal(err)
	}
	gate = make(chan struct{})
	busy.set(func(http.ResponseWriter, *http.Request) { <-gate })
	go p.try(http.MethodGet, "/", "")
	eventually(t, "the only upstream is busy", func() bool { return state(t, "default", busy.addr).inFlight.Load() == 1 })
	if a := p.get("/"); a.status != 503 || a.header.Get("Retry-After") != "1" {
		t.Errorf("a full upstream: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	close(gate)
}

func TestAdaptiveLimit_KeepsAnUpstreamFromDrowning(t *testing.T) {
	workers := make(chan struct{}, 4)
	o := newOrigin(t, func(http.ResponseWriter, *http.Request) {
		workers <- struct{}{}
		defer func() { <-workers }()
		time.Sleep(5 * time.Millisecond)
	})
	p := startProxy(t, site("adaptive_limit 2 100 queue 100 wait 5s\nbreaker off", o))
	stop := time.Now().Add(1500 * time.Millisecond)
	parallel(60, func() {
		for time.Now().Before(stop) {
			p.get("/")
		}
	})
	_, _, places := state(t, "default", o.addr).bulkhead.Load().Depth()
	if places >= 100 || places < 2 {
		t.Errorf("the limit of an upstream with 4 workers under 60 clients is %d", places)
	}
}

func TestRamp_RecoveredUpstreamGetsItsShareBackSlowly(t *testing.T) {
	a, b := newOrigin(t, nil), newOrigin(t, nil)
	p := startProxy(t, site("breaker 1 failures open 1m ramp 1h\nretry off", a, b))
	a.set(status(500))
	p.wantStatuses(500, 200)
	a.set(func(http.ResponseWriter, *http.Request) {})
	elapse(t, "default", a.addr)
	p.wantStatuses(200) // the probe
	before := a.hits.Load()
	for range 300 {
		p.wantStatuses(200)
	}
	if got := a.hits.Load() - before; got < 10 || got > 65 {
		t.Errorf("an upstream that has just recovered got %d of 300 requests, want about 30", got)
	}
}

// Nothing is left behind by any way in which a request can end.
func TestTransport_LeaksNothing(t *testing.T) {
	var n atomic.Int64
	behave := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch n.Add(1) % 6 {
		case 0:
			<-r.Context().Done()
		case 1:
			w.WriteHeader(503)
		case 2:
			fmt.Fprint(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case 3:
			panic(http.ErrAbortHandler)
		case 4:
			w.Write(bytes.Repeat([]byte("x"), 200_000))
		default:
			fmt.Fprint(w, "fine")
		}
	}
	a, b := newOrigin(t, behave), newOrigin(t, behave)
	p := startProxy(t, site("try_timeout 30ms\nbreaker off\nbulkhead 50 queue 10\nretry 2 budget 100%\nhedge 10ms max 2", a, b))
	p.try(http.MethodGet, "/", "")
	client := &http.Client{Timeout: 25 * time.Millisecond}
	before := runtime.NumGoroutine()
	parallel(10, func() {
		for range 30 {
			if res, err := client.Get("http://" + p.addr); err == nil {
				io.CopyN(io.Discard, res.Body, 100)
				res.Body.Close()
			}
			p.try(http.MethodPost, "/", "body")
		}
	})
	client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	wantNothingHeld(t, a.addr, b.addr)
	a.kill()
	b.kill()
	eventually(t, "goroutines have ended", func() bool {
		runtime.GC()
		return runtime.NumGoroutine() <= before+2
	})
}

func TestAskedToWait(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"soon":                          0,
		"-1":                            0,
		"2":                             2 * time.Second,
		"99999999999999999999":          (1<<31 - 1) * time.Second,
		"Thu, 01 Jan 2026 00:00:30 GMT": 30 * time.Second,
		"Wed, 31 Dec 2025 23:59:00 GMT": 0,
	} {
		if got := askedToWait(value, now); got != want {
			t.Errorf("Retry-After %q: %s, want %s", value, got, want)
		}
	}
}

// The wait before a retry is anything up to its ceiling, which doubles and ends.
func TestFullJitter(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		first, limit time.Duration
		before       int
		ceiling      time.Duration
	}{
		{10 * ms, 80 * ms, 0, 10 * ms},
		{10 * ms, 80 * ms, 2, 40 * ms},
		{10 * ms, 80 * ms, 3, 80 * ms},
		{10 * ms, 80 * ms, 1 << 40, 80 * ms},
		{50 * ms, 20 * ms, 0, 20 * ms},
		{1000000 * time.Hour, math.MaxInt64, 9, math.MaxInt64},
		{0, 0, 3, 0},
	} {
		least, most := tc.ceiling, time.Duration(0)
		for range 2000 {
			wait := fullJitter(tc.first, tc.limit, tc.before)
			least, most = min(least, wait), max(most, wait)
		}
		if least < 0 || most > tc.ceiling || least > tc.ceiling/10 || most < tc.ceiling-tc.ceiling/10 {
			t.Errorf("%s, at most %s, after %d: from %s to %s, want all up to %s", tc.first, tc.limit, tc.before, least, most, tc.ceiling)
		}
	}
}

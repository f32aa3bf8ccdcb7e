package resilience

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// breakerSite proxies to one upstream whose breaker stays open for the time
// given.
func breakerSite(open string, upstreams ...string) string {
	return fmt.Sprintf(`reverse_proxy %s {
		lb_policy resilient {
			policy first
		}
		transport resilient {
			breaker 5 failures open %s
			retry off
		}
	}`, strings.Join(upstreams, " "), open)
}

func TestTransport_OnlyUpstreamDiesAndRecovers(t *testing.T) {
	o := newOrigin(t, nil)
	p := startProxy(t, breakerSite("1m", o.addr))
	p.wantStatuses(200)
	o.kill()
	p.wantStatuses(502, 502, 502, 502, 502)
	for range 20 {
		a := p.get("/")
		if wait, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != 503 || err != nil || wait < 1 || wait > 60 {
			t.Fatalf("while open: %d with Retry-After %q, want 503 with up to 60", a.status, a.header.Get("Retry-After"))
		}
	}
	o.start()
	hits := o.hits.Load()
	if p.wantStatuses(503); o.hits.Load() != hits {
		t.Error("an open breaker let a request through")
	}
	elapse(t, "default", o.addr)
	p.wantStatuses(200, 200, 200)
	if got := state(t, "default", o.addr).inFlight.Load(); got != 0 {
		t.Errorf("%d tries still count as in flight", got)
	}
}

func TestTransport_FailingUpstreamIsProbedOncePerPeriod(t *testing.T) {
	o := newOrigin(t, status(500))
	p := startProxy(t, breakerSite("1m", o.addr))
	p.wantStatuses(500, 500, 500, 500, 500, 503)
	hits := o.hits.Load()
	for period := range int64(4) {
		elapse(t, "default", o.addr)
		p.wantStatuses(500, 503, 503, 503)
		if probes := o.hits.Load() - hits; probes != period+1 {
			t.Errorf("a failing upstream was asked %d times in %d periods, want one each", probes, period+1)
		}
	}
}

func TestTransport_ClientGoneIsNoFailure(t *testing.T) {
	o := newOrigin(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := startProxy(t, breakerSite("1m", o.addr))
	client := http.Client{Timeout: 20 * time.Millisecond}
	for range 10 {
		if _, err := client.Get("http://" + p.addr); err == nil {
			t.Fatal("a hanging upstream answered")
		}
	}
	u := state(t, "default", o.addr)
	eventually(t, "all tries are released", func() bool { return u.inFlight.Load() == 0 })
	if f := u.breaker.Facts(time.Now()); f.State != "closed" || f.Failures != 0 {
		t.Errorf("cancelled requests counted: %+v", f)
	}
}

func TestTransport_TryTimeoutIsAFailure(t *testing.T) {
	o := newOrigin(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := startProxy(t, fmt.Sprintf(`reverse_proxy %s {
		lb_policy resilient
		transport resilient {
			try_timeout 50ms
			breaker 3 failures open 1m
		}
	}`, o.addr))
	for range 3 {
		if a := p.get("/"); a.status != 504 {
			t.Fatalf("a hanging upstream: %d after %s, want 504 after 50ms", a.status, a.took)
		}
	}
	p.wantStatuses(503)
}

func TestTransport_TryTimeoutEndsWithTheHeaders(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "first ")
		w.(http.Flusher).Flush()
		time.Sleep(1200 * time.Millisecond)
		fmt.Fprint(w, "last")
	})
	p := startProxy(t, fmt.Sprintf(`reverse_proxy %s {
		transport resilient {
			try_timeout 1s
		}
	}`, o.addr))
	if a := p.get("/"); a.status != 200 || a.body != "first last" {
		t.Errorf("a slow body: %d %q", a.status, a.body)
	}
}

func TestTransport_ResetInMidBodyIsAFailure(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	p := startProxy(t, breakerSite("1m", o.addr))
	for range 5 {
		if _, err := p.try(http.MethodGet, "/", ""); err == nil {
			t.Fatal("half a body passed for a whole one")
		}
	}
	p.wantStatuses(503)
	if got := state(t, "default", o.addr).inFlight.Load(); got != 0 {
		t.Errorf("%d tries leaked by reverse_proxy's panics", got)
	}
}

func TestTransport_WhatCountsAsFailureIsConfigurable(t *testing.T) {
	o := newOrigin(t, status(429))
	site := `reverse_proxy ` + o.addr + ` {
		transport resilient {
			breaker 2 failures
			fail_on 429 5xx
		}
	}`
	p := startProxy(t, site)
	p.wantStatuses(429, 429, 503)
}

func TestPolicy_LeavesOutTheDeadUpstream(t *testing.T) {
	dead, alive := newOrigin(t, nil), newOrigin(t, nil)
	p := startProxy(t, breakerSite("1m", dead.addr, alive.addr))
	dead.kill()
	p.wantStatuses(502, 502, 502, 502, 502)
	p.wantStatuses(200, 200, 200)
	if alive.hits.Load() != 3 {
		t.Errorf("the upstream alive was asked %d times, want 3", alive.hits.Load())
	}
}

func TestPolicy_KeepsTheOrderOfWeights(t *testing.T) {
	a, b, c := newOrigin(t, nil), newOrigin(t, nil), newOrigin(t, nil)
	p := startProxy(t, fmt.Sprintf(`reverse_proxy %s %s %s {
		lb_policy resilient {
			policy weighted_round_robin 1 0 1
		}
		transport resilient {
			breaker 1 failures open 1m
		}
	}`, a.addr, b.addr, c.addr))
	a.kill()
	p.wantStatuses(200, 200, 200, 200, 200, 200)
	if b.hits.Load() != 0 {
		t.Errorf("an upstream of weight 0 was asked %d times", b.hits.Load())
	}
}

func TestTransport_ReverseProxyRetriesARefusalOfAnyMethod(t *testing.T) {
	dead, alive := newOrigin(t, nil), newOrigin(t, nil)
	p := startProxy(t, fmt.Sprintf(`reverse_proxy %s %s {
		lb_policy round_robin
		lb_retries 3
		transport resilient {
			breaker 1 failures open 1m
		}
	}`, dead.addr, alive.addr))
	dead.kill()
	for range 10 {
		if a := p.do(http.MethodPost, "/", "body"); a.status != 200 {
			t.Fatalf("POST: %d %q, want 200 from the upstream alive", a.status, a.body)
		}
	}
}

func TestTransport_ReloadKeepsBreakers(t *testing.T) {
	o := newOrigin(t, nil)
	p := startProxy(t, breakerSite("1m", o.addr))
	o.kill()
	p.wantStatuses(502, 502, 502)
	if err := p.load(breakerSite("1m", o.addr) + "\nheader X-Reload 1"); err != nil {
		t.Fatal(err)
	}
	p.wantStatuses(502, 502, 503) // the counts went over
	if err := p.load(breakerSite("1m", o.addr)); err != nil {
		t.Fatal(err)
	}
	p.wantStatuses(503) // and so did the state
	if err := p.load(breakerSite("1s", o.addr) + "\nreverse_proxy { lb_policy no_such_policy }"); err == nil {
		t.Fatal("a wrong config loads")
	}
	if a := p.get("/"); a.status != 503 || a.header.Get("Retry-After") < "50" {
		t.Errorf("after a rejected reload: %d, Retry-After %q; want 503 and a minute", a.status, a.header.Get("Retry-After"))
	}
}

// A config can be rejected after its modules were provisioned; their Cleanup
// runs, and the live breakers must not notice.
func TestTransport_RejectedReloadChangesNothing(t *testing.T) {
	o := newOrigin(t, nil)
	p := startProxy(t, breakerSite("1m", o.addr))
	o.kill()
	p.wantStatuses(502, 502, 502, 502, 502, 503)
	for range 3 {
		bad := strings.Replace(breakerSite("1s", o.addr), "5 failures", "2 failures", 1)
		if err := p.load(bad + "\nhandle /x {\nphp_fastcgi 127.0.0.1:1 {\ntry_files {path}\n}\ntls /no/such.pem /no/such.key\n}"); err == nil {
			t.Fatal("a wrong config loads")
		}
		if err := p.load(bad + "\nreverse_proxy /y 127.0.0.1:1 {\nlb_policy resilient\n}"); err == nil || !strings.Contains(err.Error(), "must also have") {
			t.Fatalf("lb_policy resilient without its transport: %v", err)
		}
	}
	if a := p.get("/"); a.status != 503 || len(a.header.Get("Retry-After")) != 2 {
		t.Errorf("after rejected reloads: %d, Retry-After %q; want 503 and a minute", a.status, a.header.Get("Retry-After"))
	}
	if n, _ := groups.References("default"); n != 1 {
		t.Errorf("the group is held %d times, want once", n)
	}
}

func TestTransport_AccessLogTellsAttemptsAndBreaker(t *testing.T) {
	o := newOrigin(t, nil)
	p := startProxy(t, breakerSite("1m", o.addr))
	p.wantStatuses(200)
	o.kill()
	p.wantStatuses(502, 502, 502, 502, 502, 503)
	eventually(t, "the access log has the last line", func() bool { return strings.Count(p.logged(), "\n") == 7 })
	lines := strings.Split(strings.TrimSpace(p.logged()), "\n")
	for i, want := range map[int]string{0: `"upstream_attempts":1,"breaker":"closed"`, 6: `"upstream_attempts":0,"breaker":"open"`} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d of the access log lacks %s: %s", i, want, lines[i])
		}
	}
}

func TestTransport_ActiveHealthChecksAreNotCounted(t *testing.T) {
	o := newOrigin(t, status(500))
	p := startProxy(t, fmt.Sprintf(`reverse_proxy %s {
		health_uri /health
		health_interval 10ms
		health_fails 1000000
		transport resilient {
			breaker 1 failures open 1m
		}
	}`, o.addr))
	eventually(t, "health checks have come", func() bool { return o.hits.Load() > 3 })
	p.wantStatuses(500, 503)
}

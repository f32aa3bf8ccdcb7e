package resilience

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// loadWithFaults runs a site whose config allows faults.
func (p *proxy) loadWithFaults(site string) error {
	config, err := adapt(fmt.Sprintf("{\nadmin off\nauto_https off\nfairway {\nallow_faults\n}\nlog default {\noutput discard\n}\n}\nhttp://%s {\n%s\n}", p.addr, site))
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

func TestFault_AbortsAndDelaysAsAnUpstreamWould(t *testing.T) {
	a, b := newOrigin(t, nil), newOrigin(t, nil)
	p := startProxy(t, "")
	drill := func(fault string) {
		t.Helper()
		if err := p.loadWithFaults(site("name "+strconv.FormatInt(time.Now().UnixNano(), 36)+"\ntry_timeout 5s\nbreaker 3 failures open 1m\nretry 1 on 503 timeout\nfault {\n"+fault+"\n}", a, b)); err != nil {
			t.Fatal(err)
		}
	}
	drill("abort 503 100%")
	if got := p.get("/"); got.status != 503 || got.header.Get("Fairway-Fault") != "abort" || a.hits.Load()+b.hits.Load() != 0 {
		t.Errorf("everything aborted: %d %v, upstreams asked %d times", got.status, got.header, a.hits.Load()+b.hits.Load())
	}
	drill("abort 503 100%\nupstream " + a.addr)
	p.wantStatuses(200, 200, 200, 200, 200)
	if a.hits.Load() != 0 || b.hits.Load() != 5 {
		t.Errorf("upstreams asked %d and %d times, want 0 and 5", a.hits.Load(), b.hits.Load())
	}
	drill("delay 50ms 100%\nupstream " + a.addr)
	if got := p.get("/"); got.status != 200 || got.took < 50*time.Millisecond {
		t.Errorf("a delayed try: %d after %s", got.status, got.took)
	}
}

func TestFallback_AnotherUpstream(t *testing.T) {
	dead, spare := newOrigin(t, nil), newOrigin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "spare "+r.URL.Path) })
	dead.kill()
	p := startProxy(t, fmt.Sprintf(`resilience {
		fallback upstream %s
		fallback respond 503 sorry
	}
	reverse_proxy %s {
		lb_policy resilient
		transport resilient {
			breaker 1 failures open 1m
		}
	}`, spare.addr, dead.addr))
	for range 3 {
		if a := p.get("/x"); a.status != 200 || a.body != "spare /x" || a.header.Get("Fairway-Fallback") != "upstream" || a.header.Get("Retry-After") != "" {
			t.Errorf("%d %q %v", a.status, a.body, a.header)
		}
	}
	if a := p.do(http.MethodPost, "/x", "body"); a.status != 503 || a.body != "sorry" {
		t.Errorf("a request with a body: %d %q, want the next fallback", a.status, a.body)
	}
	spare.kill()
	if a := p.get("/x"); a.status != 503 || a.body != "sorry" || a.header.Get("Fairway-Fallback") != "respond" {
		t.Errorf("the other upstream is dead too: %d %q %v", a.status, a.body, a.header)
	}
}

func TestPriority_HigherClassesGoFirst(t *testing.T) {
	gate := make(chan struct{})
	o := newOrigin(t, func(http.ResponseWriter, *http.Request) { <-gate })
	p := startProxy(t, fmt.Sprintf(`resilience {
		bulkhead 1 queue 1 wait 30s
		priority {query.plan} {
			high pro
			low  free
		}
	}
	reverse_proxy %s`, o.addr))
	ask := func(plan string) chan int {
		done := make(chan int, 1)
		go func() {
			a, _ := p.try(http.MethodGet, "/?plan="+plan, "")
			done <- a.status
		}()
		return done
	}
	first := ask("free")
	eventually(t, "the only place is taken", func() bool { return o.hits.Load() == 1 })
	waiting := ask("free")
	var pro chan int
	eventually(t, "a full queue gives up the free plan for the pro", func() bool {
		if pro == nil {
			pro = ask("pro")
		}
		select {
		case status := <-waiting:
			return status == 503
		case status := <-pro: // it came first; then free was shed at once
			t.Fatalf("pro was answered %d before the gate opened", status)
		default:
		}
		return false
	})
	close(gate)
	if a, b := <-first, <-pro; a != 200 || b != 200 {
		t.Errorf("first %d, pro %d, want 200", a, b)
	}
}

func TestTransport_TellsTheUpstreamItsDeadline(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Timeout-Ms")) })
	p := startProxy(t, "resilience {\ntimeout 2s\n}\n"+site("try_timeout 5s\ndeadline_header X-Timeout-Ms", o))
	if left, err := strconv.Atoi(p.get("/").body); err != nil || left < 1 || left > 2000 {
		t.Errorf("the upstream has %d ms, want up to 2000 (%v)", left, err)
	}
	if err := p.load(site("try_timeout 700ms\ndeadline_header X-Timeout-Ms", o)); err != nil {
		t.Fatal(err)
	}
	if got := p.get("/").body; got != "700" {
		t.Errorf("the upstream has %q ms, want 700", got)
	}
}

func TestTransport_IdleTimeoutBreaksSilentBodies(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		for range 4 {
			fmt.Fprint(w, "tick ")
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
	})
	p := startProxy(t, site("idle_timeout 1s", o))
	if a := p.get("/"); a.body != strings.Repeat("tick ", 4) {
		t.Errorf("a body that never pauses long: %q", a.body)
	}
	if err := p.load(site("idle_timeout 150ms", o)); err != nil {
		t.Fatal(err)
	}
	if a, err := p.try(http.MethodGet, "/hang", ""); err == nil {
		t.Errorf("a silent body passed for a whole one: %q", a.body)
	}
	eventually(t, "the try is released", func() bool { return state(t, "default", o.addr).inFlight.Load() == 0 })
}

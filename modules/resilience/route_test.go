package resilience

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func routeSite(options string, o *origin) string {
	return fmt.Sprintf("resilience {\nname orders\n%s\n}\nreverse_proxy %s\nmetrics /metrics", options, o.addr)
}

func TestRoute_BreakerShieldsWhateverStandsBehind(t *testing.T) {
	o := newOrigin(t, status(500))
	p := startProxy(t, routeSite("breaker 3 failures open 1m\nfallback respond 503 sorry", o))
	p.wantStatuses(500, 500, 500)
	for range 5 {
		if a := p.get("/"); a.status != 503 || a.body != "sorry" || a.header.Get("Retry-After") == "" || a.header.Get("Fairway-Fallback") != "respond" {
			t.Fatalf("an open breaker: %d %q %v", a.status, a.body, a.header)
		}
	}
	if o.hits.Load() != 3 {
		t.Errorf("the upstream was asked %d times, want 3", o.hits.Load())
	}
	o.set(status(200))
	elapse(t, "route:orders", "route:orders")
	p.wantStatuses(200, 200, 200) // a probe closes it
}

func TestRoute_ErrorsAndTimeoutsAreFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		answer  http.HandlerFunc
		options string
		want    int
	}{
		"timeout":       {hang, "timeout 30ms", 504},
		"status":        {status(429), "fail_on 429", 429},
		"broken":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", 502},
		"slow":          {status(200), "", 200},
		"client errors": {status(404), "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			breaker := "breaker 2 failures"
			if name == "slow" {
				breaker = "breaker slow 50% over 1ns min 2"
			}
			o := newOrigin(t, tt.answer)
			p := startProxy(t, routeSite(breaker+" open 1m\n"+tt.options, o))
			then := 503
			if name == "client errors" {
				then = tt.want
			}
			p.wantStatuses(tt.want, tt.want, then, then)
		})
	}
}

func TestRoute_ClientsThatGoAndShedRequestsCountForNothing(t *testing.T) {
	gate := make(chan struct{})
	o := newOrigin(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gate" {
			<-gate
			return
		}
		<-r.Context().Done()
	})
	p := startProxy(t, routeSite("breaker 2 failures open 1m\nbulkhead 1", o))
	route := state(t, "route:orders", "route:orders")
	for range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/", nil)
		before := o.hits.Load()
		done := make(chan struct{})
		go func() { defer close(done); http.DefaultClient.Do(req) }()
		eventually(t, "the upstream is asked", func() bool { return o.hits.Load() > before })
		cancel()
		<-done
		eventually(t, "the request is gone", func() bool { return route.inFlight.Load() == 0 })
	}
	done := make(chan struct{})
	go func() { defer close(done); p.try(http.MethodGet, "/gate", "") }()
	eventually(t, "the only place is taken", func() bool { return route.inFlight.Load() == 1 })
	p.wantStatuses(503, 503, 503, 503)
	close(gate)
	<-done
	if s := route.breaker.State(); s != Closed {
		t.Errorf("the breaker is %s, want closed", s)
	}
}

func TestRoute_StateSurvivesReloadsAndIsShown(t *testing.T) {
	o := newOrigin(t, status(500))
	p := startProxy(t, routeSite("breaker 3 failures open 1m\nbulkhead 7 queue 2", o))
	p.wantStatuses(500, 500)
	if err := p.load(routeSite("breaker 3 failures open 1m\nbulkhead 8 queue 2", o)); err != nil {
		t.Fatal(err)
	}
	p.wantStatuses(500, 503) // the third failure in a row
	if err := p.load(routeSite("breaker 3 failures open 1m\nno_such_option", o)); err == nil {
		t.Fatal("a wrong config loads")
	}
	if err := p.load(routeSite("breaker 9 failures open 1m\nbulkhead 8 queue 2", o)); err != nil {
		t.Fatal(err)
	}
	p.wantStatuses(503)
	var found gateway.Actor
	for _, part := range gateway.Active().Parts() {
		if part.Kind() == "breaker" && part.Name() == "route:orders" {
			found = part.(gateway.Actor)
		}
	}
	if found == nil {
		t.Fatal("the route is not shown")
	}
	shown, _ := json.Marshal(found.Snapshot())
	if !strings.Contains(string(shown), `"state":"open"`) || !strings.Contains(string(shown), `"limit":8`) {
		t.Errorf("shown as %s", shown)
	}
	metrics := p.getWithReset(t, found)
	for _, want := range []string{
		`fairway_resilience_breaker_state{name="route:orders",upstream="route:orders"} 0`,
		`fairway_resilience_limit{name="route:orders",upstream="route:orders"} 8`,
		`fairway_resilience_queue_depth{name="route:orders",upstream="route:orders"} 0`,
		`fairway_resilience_tries_total{name="route:orders",outcome="failure"}`,
		`fairway_resilience_refused_total{name="route:orders",reason="open"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// getWithReset resets the route's breaker, behind which the metrics stand too,
// and returns the metrics.
func (p *proxy) getWithReset(t *testing.T, a gateway.Actor) string {
	t.Helper()
	if _, err := a.Act(t.Context(), "reset", nil); err != nil {
		t.Fatal(err)
	}
	return p.get("/metrics").body
}

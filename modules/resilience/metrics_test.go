package resilience

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestMetrics_CountRetriesHedgesAndAnEmptyBudget(t *testing.T) {
	slow, quick := newOrigin(t, hang), newOrigin(t, nil)
	options := "name counted\nbreaker off\nretry 1 on 503 budget 1% min 1 {\nbackoff 1ms 1ms\n}"
	p := startProxy(t, site("hedge 10ms\n"+options, slow, quick)+"\nmetrics /metrics")
	p.get("/") // a hedge wins
	hedged := make(chan struct{})
	quick.set(func(w http.ResponseWriter, r *http.Request) { close(hedged); hang(w, r) })
	slow.set(func(http.ResponseWriter, *http.Request) { <-hedged })
	p.get("/") // a hedge loses
	if err := p.load(site(options, slow, quick) + "\nmetrics /metrics"); err != nil {
		t.Fatal(err)
	}
	slow.set(status(503))
	quick.set(status(503))
	for range 20 { // the budget of 10 tries per ten seconds ends
		p.get("/")
	}
	for _, want := range []string{
		`fairway_resilience_hedges_total{name="counted",outcome="won"} 1`,
		`fairway_resilience_hedges_total{name="counted",outcome="lost"} 1`,
		`fairway_resilience_retries_total{after="status",name="counted"} `,
		`fairway_resilience_budget_exhausted_total{name="counted"} `,
	} {
		eventually(t, fmt.Sprintf("the metrics have %s", want), func() bool {
			got := p.get("/metrics").body
			return strings.Contains(got, want) && !strings.Contains(got, want+"0\n")
		})
	}
}

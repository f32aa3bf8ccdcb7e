package resilience

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Allocations of a request through a route with everything on, beside plain
// reverse_proxy, the origin's and the client's included in both.
func BenchmarkFigure_AllocationsPerRequest(b *testing.B) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }))
	defer origin.Close()
	runs := 5000
	if testing.Short() {
		runs = 500
	}
	measure := func(site string) float64 {
		handler := routeOf(b, fmt.Sprintf(site, origin.Listener.Addr()))
		for range runs / 5 { // connections, and latencies for the quantile
			serveOnce(b, handler)
		}
		return testing.AllocsPerRun(runs, func() { serveOnce(b, handler) })
	}
	plain := measure("reverse_proxy %[1]s {\nlb_policy round_robin\n}")
	all := measure(everything)
	b.Logf("allocations per request: %.0f with everything on, %.0f by plain reverse_proxy, %+.0f (target: at most +12)", all, plain, all-plain)
	b.ReportMetric(all-plain, "more-allocs")
}

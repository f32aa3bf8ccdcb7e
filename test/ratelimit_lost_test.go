package test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// lostConfig has one limit that stays strict without Redis and one that each
// gateway then keeps by itself.
const lostConfig = `
{
	admin {$FAIRWAY_ADMIN}
	fairway {
		redis {$REDIS_URL}
	}
}
{$FAIRWAY_LISTEN} {
	route {
		rate_limit {
			zone strict {
				match {
					path /strict
				}
				key {header.X-Client}
				rate 50/1s
				on_error deny
			}
			zone local {
				match {
					path /local
				}
				key {header.X-Client}
				rate 50/1s
				on_error local
			}
		}
		respond ok
	}
	handle_errors {
		problem
	}
}
`

// lostLimit is what both zones admit in any second.
const lostLimit = 50

// lostPhases are what happens to Redis, one after the other.
var lostPhases = [...]string{"redis answers", "paused (SIGSTOP)", "resumed", "killed", "restarted, empty"}

// admitted is a request that was let through, in µs: when it was sent, and when
// its answer was there.
type admittedSpan struct{ from, to int64 }

// lostRun is what two gateways under load did while they lost Redis twice.
type lostRun struct {
	mu        sync.Mutex
	start     time.Time
	phase     atomic.Int32
	took      [len(lostPhases)][]time.Duration
	admitted  map[string][]admittedSpan // by path, of the client who asks for too much
	errors    int                       // neither 200 nor 429
	refusedIn [len(lostPhases)]int      // requests on /local of clients far below the limit
	first     string                    // of what went wrong
}

// runLost sends, from six workers, requests of one client far above the limit and
// of many far below it, while Redis is paused, resumed, killed and restarted.
func runLost(tb testing.TB, each time.Duration) *lostRun {
	redis := redistest.Start(tb)
	l := &lostRun{start: time.Now(), admitted: make(map[string][]admittedSpan)}
	gateways := [2]*gateway{}
	for i := range gateways {
		gateways[i] = startGateway(tb, lostConfig, "REDIS_URL="+redis.URL())
		eventually(tb, "the gateway shares", func() error {
			return tryStatus(get(gateways[i].url+"/strict").with("X-Client", "probe"), http.StatusOK)
		})
	}
	load := startTraffic(tb, 6, func(worker, n int) request {
		path, who := []string{"/strict", "/local"}[n%2], "busy"
		if worker >= 4 {
			path, who = "/local", fmt.Sprintf("quiet-%d-%d", worker, n%100)
		}
		return get(gateways[worker%2].url+path).with("X-Client", who)
	}, l.note)
	for phase, act := range []func(){func() {}, redis.Pause, redis.Resume, redis.Kill, redis.Restart} {
		l.phase.Store(int32(phase))
		act()
		time.Sleep(each)
	}
	load.end(tb)
	return l
}

func (l *lostRun) note(a answer) error {
	to := time.Since(l.start).Microseconds()
	phase := l.phase.Load()
	path := a.to.url[strings.LastIndexByte(a.to.url, '/'):]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took[phase] = append(l.took[phase], a.took)
	quiet := a.to.header["X-Client"] != "busy"
	switch {
	case a.status != http.StatusOK && a.status != http.StatusTooManyRequests:
		l.errors++
		l.first = a.String()
	case quiet && a.status != http.StatusOK:
		l.refusedIn[phase]++
		l.first = a.String()
	case !quiet && a.status == http.StatusOK:
		l.admitted[path] = append(l.admitted[path], admittedSpan{to - a.took.Microseconds(), to})
	}
	return nil
}

// most is the largest number of requests that were certainly admitted within one
// second, of the client who asks for too much.
func (l *lostRun) most(path string) (most int) {
	all := l.admitted[path]
	slices.SortFunc(all, func(a, b admittedSpan) int { return int(a.from - b.from) })
	for i, first := range all {
		end, n := first.from+1_000_000, 0
		for _, s := range all[i:] {
			if s.from >= end {
				break
			}
			if s.to < end {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// wrong counts the decisions that docs/rate_limit.md rules out: failures, refusals
// below the limit, more than the limit where the zone is strict, and more than
// twice the limit where each gateway goes on by itself.
func (l *lostRun) wrong(tb testing.TB) (total int) {
	tb.Helper()
	for what, n := range map[string]int{
		"answers other than 200 and 429":       l.errors,
		"refusals far below the limit":         sum(l.refusedIn[:]),
		"admissions above the limit, strict":   max(l.most("/strict")-lostLimit, 0),
		"admissions above twice the limit":     max(l.most("/local")-2*lostLimit, 0),
		"nothing admitted at the end (strict)": l.silentAfter("/strict"),
	} {
		if n > 0 {
			tb.Errorf("%d %s; such as %s", n, what, l.first)
		}
		total += n
	}
	return total
}

// silentAfter is 1 if nothing was admitted on a path in the last phase.
func (l *lostRun) silentAfter(path string) int {
	all := l.admitted[path]
	if len(all) == 0 || all[len(all)-1].to < l.lastPhaseBegan() {
		return 1
	}
	return 0
}

func (l *lostRun) lastPhaseBegan() int64 {
	return time.Since(l.start).Microseconds() * int64(len(lostPhases)-1) / int64(len(lostPhases)+1)
}

func sum(values []int) (total int) {
	for _, v := range values {
		total += v
	}
	return total
}

// Redis is paused, resumed, killed and restarted under load: no wrong decision.
func TestRateLimit_NoWrongDecisionWhileRedisIsLost(t *testing.T) {
	runLost(t, 1500*time.Millisecond).wrong(t)
}

// BenchmarkFigure_RedisLost prints what clients of two gateways notice when Redis
// is lost: latency by phase beside the one before, and wrong decisions.
func BenchmarkFigure_RedisLost(b *testing.B) {
	each := 5 * time.Second
	if testing.Short() {
		// Longer than the window: a Redis that is back with nothing within a window
		// has forgotten what it counted in it, and the promise ends there.
		each = 1300 * time.Millisecond
	}
	l := runLost(b, each)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "phase\trequests\tp50 ms\tp99 ms\tadded to p99\tslowest ms\trefused below the limit\t")
	before := quantile(l.took[0], 0.99)
	for phase, name := range lostPhases {
		took := l.took[phase]
		ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%d\t\n", name, len(took), ms(quantile(took, 0.5)), ms(quantile(took, 0.99)),
			ms(quantile(took, 0.99)-before), ms(quantile(took, 1)), l.refusedIn[phase])
	}
	_ = w.Flush()
	fmt.Printf("\n%smost in any second of a limit of %d: %d with on_error deny, %d with local; timeout of redis 20 ms; wrong decisions: %d\n",
		table.String(), lostLimit, l.most("/strict"), l.most("/local"), l.wrong(b))
}

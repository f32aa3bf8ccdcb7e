package ratelimit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

const (
	fleetNodes = 4
	fleetLimit = 2000 // in any second
)

// fleetLoad is one row of the table: what is asked, and what issue and
// documentation promise.
type fleetLoad struct {
	load  float64 // of the limit
	slots int
	naive bool    // one call per request: what others do
	trips float64 // at most
	share float64 // of what an exact limiter would admit, at least
}

var fleetLoads = []fleetLoad{
	{load: 0.02, slots: 12, trips: 1.0, share: 0.98},
	{load: 0.2, slots: 12, trips: 0.25, share: 0.98},
	{load: 0.75, slots: 12, trips: 0.10, share: 0.98},
	{load: 3, slots: 12, trips: 0.05, share: 0.91},
	{load: 3, slots: 60, trips: 1, share: 0.97},
	{load: 0.02, slots: 12, naive: true},
	{load: 0.2, slots: 12, naive: true},
	{load: 0.75, slots: 12, naive: true},
	{load: 3, slots: 12, naive: true},
}

// BenchmarkFigure_Fleet drives four gateways on one redis-server, each with a
// client, memory and heartbeat of its own, and prints what a shared limit of
// 2000/s costs and how exact it is. Round trips are counted by the server: every
// command that it did not run on behalf of a script. What only keeps connections
// is a column of its own.
func BenchmarkFigure_Fleet(b *testing.B) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "load\tslots\trequests\ttrips/request\ttarget\tadmitted of exact\ttarget\trefused\tmost in 1s of 2000\tRedis CPU µs/request\t")
	for _, l := range fleetLoads {
		if l.naive && l.load == fleetLoads[5].load {
			fmt.Fprintln(w, "one call to Redis for every request, as a comparison:\t\t\t\t\t\t\t\t\t\t\t")
		}
		if !testing.Short() || !l.naive || l.load == 3 {
			l.print(b, w)
		}
	}
	_ = w.Flush()
	fmt.Print("\n" + table.String()) // a benchmark's log is cut after ten lines
}

// length is how long a load lasts. A saturated key is admitted in bursts, one
// per window and slot: only after as many windows as slots is the average true.
func (l fleetLoad) length() time.Duration {
	switch {
	case testing.Short():
		return 300 * time.Millisecond
	case l.load > 1 && !l.naive:
		return time.Duration(float64(l.slots)+0.98) * time.Second
	case l.naive:
		return 3 * time.Second
	case l.load < 0.1: // few requests a second
		return 30 * time.Second
	}
	return 6 * time.Second
}

func (l fleetLoad) print(b *testing.B, w *tabwriter.Writer) {
	got := l.drive(b)
	trips := float64(got.trips) / float64(got.requests)
	share := float64(len(got.admissions)) / float64(exact(got.arrivals, fleetLimit, second))
	worst := mostInAnyWindow(got.admissions, second)
	target, shareTarget := "-", "-"
	if !l.naive {
		target, shareTarget = fmt.Sprintf("≤ %g", l.trips), fmt.Sprintf("≥ %g %%", 100*l.share)
	}
	fmt.Fprintf(w, "%gx\t%d\t%d\t%.3f\t%s\t%.1f %%\t%s\t%d\t%d\t%.1f\t\n", l.load, l.slots, got.requests, trips, target,
		100*share, shareTarget, got.refused, worst, got.redisCPU*1e6/float64(got.requests))
	if worst > fleetLimit {
		b.Errorf("%gx: %d admitted in a second, limit %d", l.load, worst, fleetLimit)
	}
	if l.load < 1 && got.refused > 0 {
		b.Errorf("%gx: %d refused below the limit; %d calls to Redis failed", l.load, got.refused, got.failed)
	}
}

// loadResult is what a fleet did under one load. Times are mono.
type loadResult struct {
	requests, refused int
	failed            uint64 // calls to Redis
	trips             int64
	redisCPU          float64 // s
	arrivals          []int64
	admissions        []admission
}

// drive sends requests at random times (Poisson) to the nodes of a fleet.
func (l fleetLoad) drive(b *testing.B) (all loadResult) {
	server := redistest.Start(b)
	admin := server.Client()
	for _, s := range []*redis.Script{slidingScript, fleetScript} {
		if err := s.Load(b.Context(), admin).Err(); err != nil {
			b.Fatal(err)
		}
	}
	set := testSet(b, l.slots, false, fmt.Sprintf("%d/1s", fleetLimit))
	takes, tallies := make([]timedDecider, fleetNodes), make([]*tally, fleetNodes)
	for id := range takes {
		takes[id], tallies[id] = l.node(b, server, id)
	}
	warm := testSet(b, l.slots, false, "1000000/1s")
	for _, take := range takes { // connections are made once, not per request
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for warmed := false; !warmed; time.Sleep(10 * time.Millisecond) {
					warmed, _ = take(testAsk(warm, fmt.Sprint("nobody", i), 1))
				}
			})
		}
		wg.Wait()
	}
	time.Sleep(2 * settleEvery)
	before := serverStats(b, admin)
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	start := time.Now()
	for _, take := range takes {
		wg.Go(func() {
			mine := sendPoisson(set, take, l.load*fleetLimit/fleetNodes, start, l.length())
			mu.Lock()
			defer mu.Unlock()
			all.requests += mine.requests
			all.refused += mine.refused
			all.arrivals = append(all.arrivals, mine.arrivals...)
			all.admissions = append(all.admissions, mine.admissions...)
		})
	}
	wg.Wait()
	after := serverStats(b, admin)
	for _, t := range tallies {
		all.failed += t.failures.Load()
	}
	all.trips, all.redisCPU = after.commands-before.commands-1, after.cpu-before.cpu // one was our own question
	slices.Sort(all.arrivals)
	slices.SortFunc(all.admissions, byTime)
	return all
}

// timedDecider says when it decided, too, as mono.
type timedDecider func(*ask) (ok bool, at int64)

// node starts one gateway's zone. Its timeout differs from the others', so that
// it does not share their client.
func (l fleetLoad) node(b *testing.B, server *redistest.Server, id int) (take timedDecider, counted *tally) {
	n := newNodeWith(b, fmt.Sprintf(`{"redis":{"url":%q,"timeout":"%dms"}}`, server.URL(), 500+id))
	h := n.mustLoad(fmt.Sprintf("rate_limit {\nzone fleet {\nrate %d/1s\nslots %d\non_error deny\n}\n}", fleetLimit, l.slots))
	limiter := *h.zones[0].limiter
	limiter.state = newState(l.slots, false)
	backend := newRedisBackend(h.redis, "fleet", fmt.Sprint("node", id))
	limiter.backend = backend
	limiter.fleet = new(fleet)
	limiter.fleet.nodes.Store(fleetNodes)
	if l.naive {
		start := timeNow()
		return func(a *ask) (bool, int64) {
			r, err := backend.charge(context.Background(), &call{name: nameOf(a.text), set: a.set, cost: 1, want: 1, share: 1, total: -1})
			if err != nil || r.granted == 0 {
				return false, 0
			}
			return true, r.now - start.wall + start.mono // Redis decided, by the same machine's clock
		}, &limiter.tally
	}
	ctx, stop := context.WithCancel(context.Background())
	b.Cleanup(stop)
	go func() {
		for ctx.Err() == nil {
			time.Sleep(settleEvery)
			limiter.settle(ctx, settleBatch)
		}
	}()
	return func(a *ask) (bool, int64) {
		d, at := limiter.decidedAt(a, func(now instant) instant { return now })
		return d.ok, at
	}, &limiter.tally
}

// sendPoisson sends one node's requests, each by itself as in a server.
func sendPoisson(set *policySet, take timedDecider, rate float64, start time.Time, length time.Duration) (l loadResult) {
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	for at := time.Duration(0); ; {
		at += time.Duration(rand.ExpFloat64() / rate * float64(time.Second))
		if at >= length {
			break
		}
		if wait := time.Until(start.Add(at)); wait > 0 {
			time.Sleep(wait)
		}
		l.requests++
		l.arrivals = append(l.arrivals, monoNow())
		wg.Go(func() {
			a := testAsk(set, "client", 1)
			ok, at := take(a)
			mu.Lock()
			defer mu.Unlock()
			if ok {
				l.admissions = append(l.admissions, admission{at, 1})
			} else {
				l.refused++
			}
		})
	}
	wg.Wait()
	return l
}

// exact is what a limiter would admit that knows the time of every admission.
func exact(arrivals []int64, limit int, window int64) int {
	var admitted []int64
	for _, at := range arrivals {
		if n := len(admitted); n < limit || admitted[n-limit] <= at-window {
			admitted = append(admitted, at)
		}
	}
	return len(admitted)
}

// stats is what a redis-server says of itself.
type stats struct {
	commands int64   // received from clients, heartbeats and pings among them
	cpu      float64 // s
}

// inScripts are the commands that the scripts call. INFO counts them too, but
// they cross no network, and no gateway sends them by itself.
var inScripts = []string{
	"time", "hgetall", "hmget", "hset", "hdel", "hincrby", "pexpire", "pttl", "set", "del", "zadd", "zremrangebyscore", "zcard",
}

func serverStats(tb testing.TB, admin *redis.Client) (s stats) {
	tb.Helper()
	info, err := admin.Info(tb.Context(), "commandstats", "cpu").Result()
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if command, ok := strings.CutPrefix(name, "cmdstat_"); ok && !slices.Contains(inScripts, command) {
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			n, err := strconv.ParseInt(calls, 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			s.commands += n
		}
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				tb.Fatal(err)
			}
			s.cpu += v
		}
	}
	return s
}

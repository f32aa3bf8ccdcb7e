package ratelimit

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

var (
	figures       = flag.Bool("figures", false, "measure the fleet figures and print their table")
	figureSeconds = flag.Float64("figure-seconds", 0, "how long each load of -figures lasts; 0: as long as it takes to be exact")
)

const (
	fleetNodes = 4
	fleetLimit = 2000
)

// gatewayNode is what one gateway of a fleet has: memory and a client of its own.
type gatewayNode struct {
	limiter *limiter
	trips   *countingHook
}

// countingHook counts every command a client sends, scripts or not; a NOSCRIPT
// answer and its repetition are two.
type countingHook struct{ n atomic.Int64 }

func (h *countingHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *countingHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.n.Add(1)
		return next(ctx, cmd)
	}
}

func (h *countingHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

func newGatewayNode(t testing.TB, addr string, id, slots int) *gatewayNode {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { client.Close() })
	n := &gatewayNode{trips: new(countingHook)}
	client.AddHook(n.trips)
	f := &fleet{}
	f.nodes.Store(fleetNodes)
	n.limiter = &limiter{
		state: newState(slots, false), backend: newRedisBackend(plainRedis{client}, "figures", fmt.Sprint("node", id)),
		fleet: f, clock: timeNow, timeout: time.Second, outage: outageDeny,
	}
	return n
}

// load is what a fleet did under one load.
type load struct {
	requests, trips int64
	arrivals        []int64
	admissions      []admission
	refused         int64
}

// drive sends requests at random times (Poisson) to the nodes of a fleet.
func drive(t testing.TB, server *redistest.Server, set *policySet, slots int, rate, seconds float64) load {
	var (
		mu  sync.Mutex
		all load
		wg  sync.WaitGroup
	)
	start := time.Now()
	for id := range fleetNodes {
		n := newGatewayNode(t, server.Addr(), id, slots)
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			for ctx.Err() == nil {
				time.Sleep(settleEvery)
				n.limiter.settle(ctx, settleBatch)
			}
		}()
		wg.Go(func() {
			defer stop()
			mine := n.run(set, rate/fleetNodes, start, time.Duration(seconds*float64(time.Second)))
			mu.Lock()
			defer mu.Unlock()
			all.requests += mine.requests
			all.refused += mine.refused
			all.trips += n.trips.n.Load()
			all.arrivals = append(all.arrivals, mine.arrivals...)
			all.admissions = append(all.admissions, mine.admissions...)
		})
	}
	wg.Wait()
	slices.SortFunc(all.admissions, func(a, b admission) int { return int(a.at - b.at) })
	slices.Sort(all.arrivals)
	return all
}

// run sends one node's requests. Each runs by itself, as in a server.
func (n *gatewayNode) run(set *policySet, rate float64, start time.Time, length time.Duration) (l load) {
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	random := rand.New(rand.NewPCG(uint64(n.trips.n.Add(0)), uint64(time.Now().UnixNano())))
	for at := time.Duration(0); ; {
		at += time.Duration(random.ExpFloat64() / rate * float64(time.Second))
		if at >= length {
			break
		}
		if wait := time.Until(start.Add(at)); wait > 0 {
			time.Sleep(wait)
		}
		l.requests++
		l.arrivals = append(l.arrivals, time.Since(start).Microseconds())
		wg.Go(func() {
			a := testAsk(set, "client", 1)
			d := n.limiter.take(context.Background(), a)
			now := time.Since(start).Microseconds()
			mu.Lock()
			defer mu.Unlock()
			if d.ok {
				l.admissions = append(l.admissions, admission{now, 1})
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

// TestFigures prints the table of the fleet: four gateways, one redis-server.
//
//	go test ./modules/ratelimit -run TestFigures -figures -v
func TestFigures(t *testing.T) {
	if !*figures {
		t.Skip("needs -figures")
	}
	server := redistest.Start(t)
	if err := slidingScript.Load(t.Context(), server.Client()).Err(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n| load | slots | requests | trips/request | wanted | admitted of exact | refused | most in a window of %d |\n|---|---|---|---|---|---|---|---|\n", fleetLimit)
	for _, tc := range []struct {
		load  float64
		slots int
		trips float64
		share float64
	}{
		{0.02, 12, 1.0, 0.98},
		{0.2, 12, 0.25, 0.98},
		{0.75, 12, 0.10, 0.98},
		{3, 12, 0.05, 0.91},
		{3, 60, 1, 0.97},
	} {
		set := testSet(t, tc.slots, false, fmt.Sprintf("%d/1s", fleetLimit))
		server.Client().FlushAll(t.Context())
		// A saturated key is admitted in bursts, one per window and slot: only
		// after as many windows as slots does the average show.
		seconds := 6.0
		if tc.load > 1 {
			seconds = float64(tc.slots) + 0.98
		}
		if *figureSeconds > 0 {
			seconds = *figureSeconds
		}
		l := drive(t, server, set, tc.slots, tc.load*fleetLimit, seconds)
		trips := float64(l.trips) / float64(l.requests)
		share := float64(len(l.admissions)) / float64(exact(l.arrivals, fleetLimit, second))
		worst := mostInAnyWindow(l.admissions, second)
		fmt.Fprintf(&b, "| %gx | %d | %d | %.3f | ≤ %g | %.1f %% | %d | %d |\n", tc.load, tc.slots, l.requests, trips, tc.trips, 100*share, l.refused, worst)
		if worst > fleetLimit {
			t.Errorf("%gx: %d admitted in a second", tc.load, worst)
		}
		if trips > tc.trips || share < tc.share || tc.load < 1 && l.refused > 0 {
			t.Errorf("%gx, %d slots: %.3f trips, %.3f admitted, %d refused", tc.load, tc.slots, trips, share, l.refused)
		}
	}
	fmt.Fprint(os.Stdout, b.String())
}

// benchmarkTake visits the keys in random order. Their hashes lie ready in that
// order, so that what is not in any cache is the limiter's and not the
// benchmark's; hashing a text and reading the clock are part of each decision.
func benchmarkTake(b *testing.B, n int) {
	m := newMemory(defaultSlots, false)
	set := testSet(b, defaultSlots, false, "1000000/1m")
	keys := make([]Key, n)
	for i := range keys {
		a := testAsk(set, fmt.Sprint("client", i), 1)
		keys[i] = a.key
		m.take(a, timeNow().mono)
	}
	rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime()
	b.RunParallel(func(pb *testing.PB) {
		a := testAsk(set, "", 1)
		at := rand.IntN(n)
		for pb.Next() {
			if at++; at >= n {
				at = 0
			}
			if KeyOf("203.0.113.195") == keys[at] {
				b.Error("two keys have one hash")
			}
			a.key = keys[at]
			m.take(a, timeNow().mono)
		}
	})
	b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMemory_Take is a local decision with everything: the clock, the hash
// of the key, the lock, and a key that is in no cache.
func BenchmarkMemory_Take(b *testing.B) {
	for _, keys := range []int{1, 1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { benchmarkTake(b, keys) })
	}
}

// BenchmarkAccounts_Spend is a decision by a lease.
func BenchmarkAccounts_Spend(b *testing.B) {
	c := newAccounts(newMemory(defaultSlots, false))
	set := testSet(b, defaultSlots, false, "100000000/1h")
	a := testAsk(set, "k", 1)
	now := timeNow()
	s := c.begin(a, leasing{share: 1}, banRule{}, now, arrived)
	c.finish(s.call, &reply{granted: 900_000_000, slotLeft: 3600 * second}, now)
	b.ReportAllocs()
	for b.Loop() {
		if s := c.begin(a, leasing{share: 1}, banRule{}, timeNow(), arrived); !s.decision.ok {
			b.Fatal("refused")
		}
	}
}

// TestMemory_FiveMillionKeys keeps within its bound whatever an attacker makes
// up, and within 300 bytes per key.
func TestMemory_FiveMillionKeys(t *testing.T) {
	keys, distinct := 100_000, 500_000
	if *figures {
		keys, distinct = 1_000_000, 5_000_000
	}
	before := heap()
	m := newMemory(defaultSlots, false)
	set := testSet(t, defaultSlots, false, "5/15m")
	now := 1000 * second
	for i := range distinct {
		a := testAsk(set, fmt.Sprint("attacker", i), 1)
		a.bounds = bounds{keys: keys, evict: true}
		m.take(a, now)
		now += 20
	}
	perKey := float64(heap()-before) / float64(keys)
	if size := m.table.size(); size > keys+shards {
		t.Errorf("%d records, bound %d", size, keys)
	}
	if perKey > 300 {
		t.Errorf("%.0f bytes per key, want at most 300", perKey)
	}
	if *figures {
		fmt.Printf("\n%d distinct keys, bound %d: %d records, %.0f bytes per key, %d evicted\n", distinct, keys, m.table.size(), perKey, m.table.evicted.Load())
	}
	runtime.KeepAlive(m)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

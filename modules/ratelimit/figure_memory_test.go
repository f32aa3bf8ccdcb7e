package ratelimit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/fairway-gateway/fairway/test/process"
)

// decider is a limiter that benchmarks ask: one ask at a time per goroutine.
type decider func(*ask) bool

// decided is what a limiter decides about a request.
func (l *limiter) decided(a *ask) (d decision) {
	l.take(context.Background(), a, &d)
	return d
}

// asked makes a decider of a limiter, as the handler asks one.
func asked(l *limiter) decider {
	return func(a *ask) bool {
		var d decision
		l.take(context.Background(), a, &d)
		return d.ok
	}
}

// localLimiter is what a zone without Redis has.
func localLimiter() *limiter {
	return &limiter{state: newState(defaultSlots, false), clock: timeNow, mono: monoNow}
}

// mapLimiter is what one would write first, as a comparison: a map of windows
// that begin anew when they are over, behind a lock.
func mapLimiter() decider {
	type window struct {
		end   time.Time
		count uint32
	}
	var (
		mu   sync.Mutex
		seen = make(map[string]*window)
	)
	return func(a *ask) bool {
		now, p := time.Now(), &a.set.policies[0]
		mu.Lock()
		defer mu.Unlock()
		w := seen[a.text]
		if w == nil {
			w = new(window)
			seen[a.text] = w
		}
		if now.After(w.end) {
			w.end, w.count = now.Add(time.Duration(p.window)*time.Microsecond), 0
		}
		w.count++
		return w.count <= p.limit
	}
}

// decision holds what one kind of decision costs.
type decisionCost struct {
	cpu    float64 // ns
	allocs float64
}

// measureDecisions asks about n keys on two goroutines, each in a random order of
// its own, so that half of the keys were last asked about by the other, as in a
// server. The texts lie ready in that order: what is in no cache is the limiter's
// and not the benchmark's. Reading the clock and hashing the text are part of a
// decision.
func measureDecisions(tb testing.TB, n, each int, take decider) decisionCost {
	const goroutines = 2
	set := testSet(tb, defaultSlots, false, "1000000000/1h")
	for i := range n {
		take(testAsk(set, fmt.Sprintf("client%07d", i), 1))
	}
	visit := func(texts []string) {
		a := testAsk(set, "", 1)
		for _, a.text = range texts {
			a.key = KeyOf(a.text)
			if !take(a) {
				tb.Errorf("%s is refused far below the limit", a.text)
			}
		}
	}
	rounds := max(each/goroutines/n, 1)
	decisions := float64(rounds * goroutines * n)
	var orders [goroutines][]string
	for g := range orders {
		orders[g] = shuffledTexts(n)
	}
	runtime.GC()
	allocs, cpu := mallocs(), process.SelfCPU()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for range rounds {
				visit(orders[g])
			}
		})
	}
	wg.Wait()
	return decisionCost{
		cpu:    float64(process.SelfCPU()-cpu) / decisions,
		allocs: float64(mallocs()-allocs) / decisions,
	}
}

func shuffledTexts(n int) []string {
	var all strings.Builder
	for _, i := range rand.Perm(n) {
		fmt.Fprintf(&all, "client%07d", i)
	}
	texts := make([]string, n)
	for i := range texts {
		texts[i] = all.String()[i*13 : (i+1)*13]
	}
	return texts
}

func mallocs() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.Mallocs
}

// leasedLimiter is a zone with Redis whose keys all have a lease to spend.
func leasedLimiter(tb testing.TB, n int) decider {
	l := localLimiter()
	l.backend, l.timeout = generous{}, time.Second
	set := testSet(tb, defaultSlots, false, "1000000000/1h")
	for i := range n {
		l.decided(testAsk(set, fmt.Sprintf("client%07d", i), 1))
	}
	return asked(l)
}

// generous grants leases that last.
type generous struct{}

func (generous) charge(context.Context, *call) (*reply, error) {
	return &reply{granted: 1_000_000, slotLeft: 3600 * second, remaining: 1_000_000}, nil
}

// BenchmarkFigure_LocalDecision prints the CPU time of a decision that asks
// nobody else.
func BenchmarkFigure_LocalDecision(b *testing.B) {
	each, rounds, sizes := 2_000_000, 5, []int{100_000, 1_000_000}
	if testing.Short() {
		each, rounds, sizes = 100_000, 1, []int{10_000}
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "limiter, 2 goroutines\tkeys\tCPU ns/decision (median)\tleast\ttarget\tallocations\ttarget\t")
	for _, n := range sizes {
		target := "≤ 200"
		if n > 100_000 {
			target = "≤ 400"
		}
		contenders := []struct {
			name, target string
			take         decider
		}{
			{"in memory", target, asked(localLimiter())},
			{"for comparison: a map and a lock", "-", mapLimiter()},
		}
		if n <= 100_000 { // so many keys are not busy at once
			contenders = append(contenders, contenders[1])
			contenders[1].name, contenders[1].take = "by a lease from Redis", leasedLimiter(b, n)
		}
		costs, allocs := make([][]float64, len(contenders)), make([]float64, len(contenders))
		for range rounds { // in turn: what else the machine does, it does to all
			for i, c := range contenders {
				cost := measureDecisions(b, n, each, c.take)
				costs[i], allocs[i] = append(costs[i], cost.cpu), max(allocs[i], cost.allocs)
			}
		}
		for i, c := range contenders {
			least, mid := leastAndMedian(costs[i])
			fmt.Fprintf(w, "%s\t%d\t%.0f\t%.0f\t%s\t%.3f\t0\t\n", c.name, n, mid, least, c.target, allocs[i])
		}
	}
	_ = w.Flush()
	fmt.Print("\n" + table.String())
}

func leastAndMedian(v []float64) (least, median float64) {
	s := slices.Sorted(slices.Values(v))
	return s[0], s[len(s)/2]
}

// flood asks once about each of so many distinct keys, as an attacker does who
// makes them up, and returns the heap that it leaves behind. With a ban, each
// costs more than the limit, so that it is refused and the refusal counted.
func flood(tb testing.TB, l *limiter, distinct, keys int) (perKey float64) {
	tb.Helper()
	set := testSet(tb, defaultSlots, false, "5/15m")
	cost := uint32(1)
	if l.ban.threshold > 0 {
		cost = 6
	}
	before := heap()
	for i := range distinct {
		a := testAsk(set, fmt.Sprint("attacker", i), cost)
		a.bounds = bounds{keys: keys, evict: true}
		l.decided(a)
	}
	perKey = float64(heap()-before) / float64(keys)
	if size := l.memory.table.size(); size > keys+shards {
		tb.Errorf("%d records, bound %d", size, keys)
	}
	if size := l.bans.denials.table.size(); size > keys+shards || len(l.bans.until) > keys {
		tb.Errorf("%d records of refusals and %d bans, bound %d", size, len(l.bans.until), keys)
	}
	if size := l.accounts.size(); size > keys+shards {
		tb.Errorf("%d accounts, bound %d", size, keys)
	}
	runtime.KeepAlive(l)
	return perKey
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// maxPerKey is what a tracked key may cost, and maxPerBanned what one may that is
// refused in a zone with a ban: it has a second record, and stands in a list.
const maxPerKey, maxPerBanned = 300, 2 * maxPerKey

// rarely and soon are bans: by refusals that no test reaches, and by the first.
var (
	rarely = banRule{threshold: 1000, within: 3600 * second, length: 3600 * second}
	soon   = banRule{threshold: 1, within: 3600 * second, length: 3600 * second}
)

// Whatever an attacker makes up, memory stays within its bound.
func TestMemory_FiveMillionKeys(t *testing.T) {
	keys, distinct := 1_000_000, 5_000_000
	if testing.Short() {
		keys, distinct = 100_000, 500_000
	}
	for _, tc := range []struct {
		name    string
		backend backend
		ban     banRule
		most    float64
	}{
		{"memory", nil, banRule{}, maxPerKey},
		{"redis", strict{}, banRule{}, maxPerKey},
		{"all banned", nil, soon, maxPerBanned},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := localLimiter()
			l.backend, l.timeout, l.ban = tc.backend, time.Second, tc.ban
			perKey := flood(t, l, distinct, keys)
			t.Logf("%d distinct keys, %d tracked: %.0f bytes per tracked key, %d evicted", distinct, keys, perKey, l.memory.table.evicted.Load())
			if perKey > tc.most {
				t.Errorf("%.0f bytes per key, want at most %.0f", perKey, tc.most)
			}
		})
	}
}

// strict grants what a call costs and no more, as Redis does for a new key.
type strict struct{}

func (strict) charge(_ context.Context, c *call) (*reply, error) {
	return &reply{granted: c.cost, slotLeft: 60 * second, remaining: 4, total: int64(c.cost)}, nil
}

// BenchmarkFigure_MemoryPerKey prints the heap per tracked key.
func BenchmarkFigure_MemoryPerKey(b *testing.B) {
	keys := 1_000_000
	if testing.Short() {
		keys = 50_000
	}
	for _, tc := range []struct {
		name     string
		backend  backend
		ban      banRule
		distinct int
	}{
		{"memory, all keys fit", nil, banRule{}, keys},
		{"memory, 5 times as many keys", nil, banRule{}, 5 * keys},
		{"redis, all keys fit", strict{}, banRule{}, keys},
		{"redis, 5 times as many keys", strict{}, banRule{}, 5 * keys},
		{"ban, all refused, all keys fit", nil, rarely, keys},
		{"ban, all refused, 5 times as many", nil, rarely, 5 * keys},
		{"ban, all banned, 5 times as many", nil, soon, 5 * keys},
	} {
		l := localLimiter()
		l.backend, l.timeout, l.ban = tc.backend, time.Second, tc.ban
		target := maxPerKey
		if tc.ban.threshold > 0 {
			target = maxPerBanned
		}
		b.Logf("%-34s %d distinct keys, max_keys %d: %.0f bytes of heap per tracked key (target ≤ %d)",
			tc.name, tc.distinct, keys, flood(b, l, tc.distinct, keys), target)
	}
}

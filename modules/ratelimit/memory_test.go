package ratelimit

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"pgregory.net/rapid"
)

const second = int64(time.Second / time.Microsecond)

func testSet(t testing.TB, slots int, gcra bool, rates ...string) *policySet {
	t.Helper()
	var parsed []Rate
	for _, s := range rates {
		r, err := ParseRate(s)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, r)
	}
	set, err := newPolicySet("zone", "", parsed, slots, gcra)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func testAsk(set *policySet, key string, cost uint32) *ask {
	return &ask{key: KeyOf(key), text: key, set: set, cost: cost, bounds: bounds{keys: 1 << 20, evict: true}}
}

func TestMemory_AdmitsTheLimitAndThenRefuses(t *testing.T) {
	m := newMemory(12, false)
	set := testSet(t, 12, false, "5/15m")
	now := 1000 * second
	for i := range 5 {
		d := m.take(testAsk(set, "a", 1), now)
		if !d.ok || d.remaining != uint32(4-i) {
			t.Fatalf("event %d: got %+v, want admitted with %d remaining", i, d, 4-i)
		}
		now += second
	}
	d := m.take(testAsk(set, "a", 1), now)
	if d.ok {
		t.Fatal("the sixth event was admitted")
	}
	if after := m.take(testAsk(set, "a", 1), now+d.wait-1); after.ok {
		t.Error("admitted before the announced wait was over")
	}
	if after := m.take(testAsk(set, "a", 1), now+d.wait); !after.ok {
		t.Errorf("refused after the announced wait of %d µs: %+v", d.wait, after)
	}
	if other := m.take(testAsk(set, "b", 1), now); !other.ok {
		t.Error("another key was refused")
	}
}

func TestMemory_SeveralWindowsAreChargedAllOrNone(t *testing.T) {
	m := newMemory(12, false)
	set := testSet(t, 12, false, "2/1s", "3/1m")
	now := 60 * second
	take := func() decision { return m.take(testAsk(set, "a", 1), now) }
	if !take().ok || !take().ok {
		t.Fatal("the first two events were refused")
	}
	for range 10 {
		if d := take(); d.ok || d.policy != 0 {
			t.Fatalf("third event in a second: got %+v, want refused by the first policy", d)
		}
	}
	now += 2 * second
	if d := take(); !d.ok || d.policy != 1 || d.remaining != 0 {
		t.Fatalf("after the second: got %+v, want admitted with 0 left of the minute: refusals must not count", d)
	}
	if d := take(); d.ok || d.policy != 1 {
		t.Errorf("fourth event in a minute: got %+v, want refused by the second policy", d)
	}
}

func TestMemory_RefundFreesExactlyWhatWasCharged(t *testing.T) {
	for _, gcra := range []bool{false, true} {
		m := newMemory(12, gcra)
		set := testSet(t, 12, gcra, "3/1m")
		now := 100 * second
		a := testAsk(set, "a", 3)
		d := m.take(a, now)
		if !d.ok || m.take(testAsk(set, "a", 1), now).ok {
			t.Fatalf("gcra=%t: want the limit reached at once", gcra)
		}
		m.refund(a.key, set, d.slots, 2)
		if !m.take(testAsk(set, "a", 2), now).ok || m.take(testAsk(set, "a", 1), now).ok {
			t.Errorf("gcra=%t: want exactly the two refunded events admitted", gcra)
		}
	}
}

func TestMemory_RefundAfterTheWindowIsNothing(t *testing.T) {
	m := newMemory(12, false)
	set := testSet(t, 12, false, "1/1s")
	a := testAsk(set, "a", 1)
	old := m.take(a, 10*second)
	if !m.take(a, 20*second).ok {
		t.Fatal("refused after the window")
	}
	m.refund(a.key, set, old.slots, 1)
	if m.take(a, 20*second).ok {
		t.Error("a late refund of another slot freed the newer event")
	}
}

func TestMemory_GCRASpreadsEvents(t *testing.T) {
	m := newMemory(12, true)
	set := testSet(t, 12, true, "10/1s")
	now := 5 * second
	for range 10 {
		if !m.take(testAsk(set, "a", 1), now).ok {
			t.Fatal("the burst was refused")
		}
	}
	d := m.take(testAsk(set, "a", 1), now)
	if d.ok || d.wait != second/10 {
		t.Fatalf("after the burst: got %+v, want refused for 100 ms", d)
	}
	if !m.take(testAsk(set, "a", 1), now+d.wait).ok {
		t.Error("refused after the announced wait")
	}
}

func TestMemory_ShareDividesTheLimit(t *testing.T) {
	m := newMemory(12, false)
	set := testSet(t, 12, false, "10/1m")
	admitted := 0
	for range 20 {
		a := testAsk(set, "a", 1)
		a.share = 4
		if m.take(a, 100*second).ok {
			admitted++
		}
	}
	if admitted != 2 {
		t.Errorf("a quarter of 10 admitted %d, want 2", admitted)
	}
}

func TestMemory_ZeroLimitAdmitsNone(t *testing.T) {
	for _, gcra := range []bool{false, true} {
		m := newMemory(12, gcra)
		if d := m.take(testAsk(testSet(t, 12, gcra, "0/1s"), "a", 1), second); d.ok || d.wait <= 0 {
			t.Errorf("gcra=%t: got %+v, want refused with a wait", gcra, d)
		}
	}
}

func TestMemory_FullTableRefusesNewKeysIfTold(t *testing.T) {
	m := newMemory(12, false)
	set := testSet(t, 12, false, "5/1m")
	refused := 0
	for i := range 20_000 {
		a := testAsk(set, fmt.Sprint("key", i), 1)
		a.bounds = bounds{keys: 1024}
		if d := m.take(a, 100*second); d.full {
			refused++
		}
	}
	if m.table.size() > 1024+shards || refused < 18_000 {
		t.Errorf("table of 1024: %d records, %d refused", m.table.size(), refused)
	}
	a := testAsk(set, "late", 1)
	a.bounds = bounds{keys: 1024}
	if d := m.take(a, 300*second); !d.ok {
		t.Error("refused although every record has expired")
	}
}

// An attacker who floods the table with keys must not thereby win back quota
// for a key that is used up.
func TestMemory_EvictionNeverForgets(t *testing.T) {
	m := newMemory(12, false)
	set := testSet(t, 12, false, "50/1m")
	b := bounds{keys: 1024, evict: true}
	admitted, now := 0, 100*second
	for i := range 100_000 {
		if i%100 == 0 {
			a := testAsk(set, "victim", 1)
			a.bounds = b
			if m.take(a, now).ok {
				admitted++
			}
		}
		a := testAsk(set, fmt.Sprint("flood", i), 1)
		a.bounds = b
		m.take(a, now)
		now += 100 // ten seconds in all
	}
	if m.table.evicted.Load() == 0 {
		t.Fatal("nothing was evicted: the test shows nothing")
	}
	if admitted > 50 {
		t.Errorf("the key was admitted %d times within 50/1m", admitted)
	}
	if m.table.size() > 1024+shards {
		t.Errorf("the table of 1024 has %d records", m.table.size())
	}
}

// With a full table, what was admitted elsewhere is neither forgotten nor given
// back to anything else.
func TestMemory_ForceWithoutRoomIsNotForgotten(t *testing.T) {
	for _, gcra := range []bool{false, true} {
		m, now := newMemory(12, gcra), second
		set := testSet(t, 12, gcra, "5/1m")
		key := testAsk(set, "late", 5)
		key.bounds = bounds{keys: 1}
		var other *ask // the only key in the shard
		for i := 0; other == nil; i++ {
			if a := testAsk(set, fmt.Sprint("other", i), 5); a.key.shard() == key.key.shard() {
				other = a
			}
		}
		if !m.take(other, now).ok {
			t.Fatal("the first key was refused")
		}
		slots := m.force(key, 5, now)
		if m.table.size() != 1 || slots[0] != nowhere {
			t.Fatalf("gcra=%t: %d records, slots %v: want no room", gcra, m.table.size(), slots)
		}
		key.bounds.keys = 1 << 20
		if d := m.take(key, now+second); d.ok || d.full {
			t.Errorf("gcra=%t: got %+v, want refused: 5 of 5 were admitted elsewhere", gcra, d)
		}
		m.refund(other.key, set, slots, 5)
		if m.take(other, now+second).ok {
			t.Errorf("gcra=%t: a refund of what is in no record freed another event", gcra)
		}
	}
}

// What on_error allow admits is refunded where it was charged.
func TestLimiter_RefundsWhatAnOutageAdmitted(t *testing.T) {
	l := localLimiter()
	l.outage, l.mono = outageAllow, func() int64 { return 3600 * second }
	a := testAsk(testSet(t, defaultSlots, false, "5/1m"), "a", 3)
	d := l.takeAlone(a)
	if sums, _ := l.memory.counted(a.key, a.set, 3600*second); !d.ok || sums[0] != 3 {
		t.Fatalf("%+v, %d counted, want 3 admitted", d, sums[0])
	}
	l.refund(a, &d)
	if sums, _ := l.memory.counted(a.key, a.set, 3600*second); sums[0] != 0 {
		t.Errorf("%d still counted after the refund", sums[0])
	}
}

// A client may choose the cost.
func TestMemory_NoCostAboveTheLimitIsAdmitted(t *testing.T) {
	windows := []time.Duration{time.Millisecond, time.Hour, 24 * time.Hour, maxWindow}
	for _, gcra := range []bool{false, true} {
		for _, events := range []int64{0, 1, 3, 5, 90, maxEvents} {
			for _, window := range windows {
				if gcra && events > 90 {
					continue // no such policy
				}
				rate := Rate{Events: events, Window: caddy.Duration(window)}
				for _, slots := range []int{1, defaultSlots, maxSlots} {
					set, err := newPolicySet("z", "", []Rate{rate}, slots, gcra)
					if err != nil {
						t.Fatal(err)
					}
					m := newMemory(slots, gcra)
					for _, now := range []int64{0, second, 1 << 50} {
						for _, cost := range []uint32{1, 4, 300_000_000, 600_000_001, maxEvents + 1, 1<<31 + 7, ^uint32(0)} {
							a := testAsk(set, "a", cost)
							if d := m.take(a, now); d.ok && int64(cost) > events || !d.ok && d.wait <= 0 {
								t.Errorf("gcra=%t %s, slots %d: cost %d at %d: %+v", gcra, rate, slots, cost, now, d)
							}
							m.force(a, cost, now)
							if d := m.take(a, now); d.ok && int64(cost) > events {
								t.Errorf("gcra=%t %s, slots %d: admitted after %d at %d", gcra, rate, slots, cost, now)
							}
							if int64(cost) >= events && m.take(testAsk(set, "a", 1), now).ok {
								t.Errorf("gcra=%t %s, slots %d: one more admitted after %d at %d", gcra, rate, slots, cost, now)
							}
							m.reset(a.key, set)
						}
					}
				}
			}
		}
	}
}

// Nothing between seizing a place and freeing it gives the place back on a panic,
// so whatever config, clients and clocks can bring about must not panic there.
func TestMemory_ExtremesLeaveNoPlaceHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gcra := rapid.Bool().Draw(t, "gcra")
		slots := rapid.SampledFrom([]int{1, 2, defaultSlots, maxSlots}).Draw(t, "slots")
		events := rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, maxEvents)).Draw(t, "events")
		window := rapid.OneOf(rapid.Just(int64(time.Millisecond)), rapid.Int64Range(int64(time.Millisecond), int64(maxWindow))).Draw(t, "window")
		set, err := newPolicySet("z", "", []Rate{{events, caddy.Duration(window)}}, slots, gcra)
		if err != nil {
			t.Skip(err)
		}
		m := newMemory(slots, gcra)
		a := testAsk(set, "a", 0)
		var d decision
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now := rapid.OneOf(rapid.Int64Range(0, 1<<40), rapid.Int64Range(0, 1<<62)).Draw(t, "now") // also back
			a.cost = rapid.OneOf(rapid.Uint32Range(1, 3), rapid.Uint32()).Draw(t, "cost")
			a.share = rapid.OneOf(rapid.Uint32Range(0, 3), rapid.Uint32()).Draw(t, "share")
			switch rapid.SampledFrom([]string{"take", "take", "force", "refund", "reset", "sweep"}).Draw(t, "do") {
			case "take":
				d = m.take(a, now)
				if d.ok && int64(a.cost) > events {
					t.Fatalf("cost %d of %d admitted", a.cost, events)
				}
			case "force":
				d.slots = m.force(a, a.cost, now)
			case "refund":
				m.refund(a.key, set, d.slots, a.cost)
			case "reset":
				m.reset(a.key, set)
			case "sweep":
				m.table.sweep(now)
			}
			w := m.table.seizable[a.key.shard()].Load()
			for i := range w.heads {
				if w.heads[i].key.Load()&busy != 0 {
					t.Fatal("a place is still held")
				}
			}
		}
	})
}

func TestMemory_SweepForgetsOnlyTheExpired(t *testing.T) {
	m := newMemory(12, false)
	set := testSet(t, 12, false, "1/1m")
	for i := range 1000 {
		m.take(testAsk(set, fmt.Sprint("old", i), 1), 100*second)
	}
	m.take(testAsk(set, "new", 1), 160*second)
	m.table.sweep(170 * second)
	if got := m.table.size(); got != 1 {
		t.Errorf("%d records after the sweep, want 1", got)
	}
	if m.take(testAsk(set, "new", 1), 171*second).ok {
		t.Error("the sweep forgot a live key")
	}
	for i := range 1000 {
		if !m.take(testAsk(set, fmt.Sprint("old", i), 1), 171*second).ok {
			t.Fatal("an expired key is still refused")
		}
	}
}

// The exact oracle: every admission with its time; no window may hold more than
// the limit. All of sliding, its evictions and refunds are driven at random.
func TestMemory_NeverOverAdmits(t *testing.T) {
	many(t, 3000, 30)
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 24).Draw(t, "slots")
		limit := rapid.IntRange(0, 20).Draw(t, "limit")
		window := rapid.Int64Range(1000, 5_000_000).Draw(t, "window")
		keys := rapid.IntRange(1, 200).Draw(t, "keys")
		rate := Rate{Events: int64(limit), Window: caddy.Duration(window * 1000)}
		set, err := newPolicySet("z", "", []Rate{rate}, slots, false)
		if err != nil {
			t.Fatal(err)
		}
		m := newMemory(slots, false)
		seen := map[string][]admission{}
		now := rapid.Int64Range(0, 1e15).Draw(t, "start")
		for range rapid.IntRange(1, 300).Draw(t, "events") {
			now += rapid.Int64Range(0, window/4).Draw(t, "gap")
			key := fmt.Sprint(rapid.IntRange(0, keys-1).Draw(t, "key"))
			a := &ask{
				key: KeyOf(key), set: set, cost: uint32(rapid.IntRange(1, 4).Draw(t, "cost")),
				bounds: bounds{keys: 64, evict: true},
			}
			if m.take(a, now).ok {
				seen[key] = append(seen[key], admission{now, a.cost})
			}
			if rapid.IntRange(0, 30).Draw(t, "sweep") == 0 {
				m.table.sweep(now)
			}
		}
		for key, all := range seen {
			if worst := mostInAnyWindow(all, window); worst > limit {
				t.Fatalf("key %s: %d admitted in a window of %d µs, limit %d", key, worst, window, limit)
			}
		}
	})
}

// admission is so many events at one time, in µs.
type admission struct {
	at   int64
	cost uint32
}

func byTime(a, b admission) int { return cmp.Compare(a.at, b.at) }

// mostInAnyWindow is the oracle: the largest sum of costs in any half-open
// interval of the window's length. Admissions are in order of time.
func mostInAnyWindow(all []admission, window int64) int {
	most, sum, first := 0, 0, 0
	for _, a := range all {
		sum += int(a.cost)
		for all[first].at <= a.at-window {
			sum -= int(all[first].cost)
			first++
		}
		most = max(most, sum)
	}
	return most
}

func TestMemory_DecisionAllocatesNothing(t *testing.T) {
	m := newMemory(12, false)
	set := testSet(t, 12, false, "1000000/1m", "2000000/1h")
	a := testAsk(set, "a", 1)
	now := 100 * second
	if n := testing.AllocsPerRun(1000, func() {
		now += 10
		a.key = KeyOf(a.text)
		m.take(a, now)
	}); n != 0 {
		t.Errorf("a decision allocates %v times, want never", n)
	}
}

// Many goroutines share few keys while the table grows, shrinks, and is swept
// below them: each key gets exactly its limit, and what was refunded again.
func TestMemory_ManyAtOnceAreExact(t *testing.T) {
	const keys, limit, goroutines = 300, 40, 8
	for _, rates := range [][]string{{"40/1h"}, {"40/1h", "1000/1d"}} {
		for _, gcra := range []bool{false, true} {
			m := newMemory(12, gcra)
			set := testSet(t, 12, gcra, rates...)
			var admitted [keys]atomic.Int64
			var wg sync.WaitGroup
			now := 1000 * 3600 * second
			for g := range goroutines {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(7, uint64(g)))
					for n := range keys * limit {
						k := rng.IntN(keys)
						a := testAsk(set, fmt.Sprint("key", k), 1)
						if d := m.take(a, now); d.ok {
							admitted[k].Add(1)
							if rng.IntN(8) == 0 {
								admitted[k].Add(-1)
								m.refund(a.key, set, d.slots, 1)
							}
						}
						m.take(testAsk(set, fmt.Sprint("passing", g, n), 1), now-48*3600*second) // the next sweep takes it
						if n%1000 == 0 {
							m.table.sweep(now)
						}
					}
				})
			}
			wg.Wait()
			for k := range admitted {
				if got := admitted[k].Load(); got != limit {
					t.Fatalf("gcra=%t, %v: key %d was admitted %d times, limit %d", gcra, rates, k, got, limit)
				}
			}
			m.table.sweep(now)
			if got, want := m.table.size(), keys*len(rates); got != want {
				t.Errorf("gcra=%t, %v: %d records after the sweep, want %d", gcra, rates, got, want)
			}
		}
	}
}

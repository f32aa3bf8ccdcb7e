package ratelimit

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// script is a backend on a real redis-server, to be asked directly.
func script(t *testing.T, node string) (*redisBackend, *redistest.Server) {
	server := redistest.Start(t)
	return newRedisBackend(plainRedis{server.Client()}, "z", node), server
}

func mustCharge(t *testing.T, b *redisBackend, c call) *reply {
	t.Helper()
	r, err := b.charge(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A refund whose reply was lost is sent again; it must count once.
func TestScript_RefundsCountOnce(t *testing.T) {
	b, _ := script(t, "a")
	other := newRedisBackend(b.redis, "z", "b")
	set := testSet(t, 1, false, "10/1h")
	take := func(b *redisBackend, n uint32) *reply {
		return mustCharge(t, b, call{name: nameOf("k"), set: set, cost: n, want: n, share: 1, total: -1})
	}
	first := take(b, 4)
	take(other, 6)
	back := call{name: nameOf("k"), set: set, share: 1, total: 4, seq: 7, refunds: []refund{{&issue{slots: first.slots, at: first.now}, 2}}}
	if r := mustCharge(t, b, back); r.remaining != 2 {
		t.Fatalf("after a refund of 2: %d remaining, want 2", r.remaining)
	}
	back.again = true
	for range 3 {
		if r := mustCharge(t, b, back); r.remaining != 2 {
			t.Fatalf("the refund sent again: %d remaining, want 2", r.remaining)
		}
	}
	back.seq = 8
	back.again = false
	if r := mustCharge(t, b, back); r.remaining != 4 {
		t.Errorf("another refund: %d remaining, want 4", r.remaining)
	}
}

// A refund that may have been applied before Redis lost its memory of it is void.
func TestScript_RefundsAreVoidAfterALoss(t *testing.T) {
	b, server := script(t, "a")
	set := testSet(t, 1, false, "10/1h")
	first := mustCharge(t, b, call{name: nameOf("k"), set: set, cost: 4, want: 4, share: 1, total: -1})
	server.Client().FlushAll(t.Context())
	other := newRedisBackend(b.redis, "z", "b")
	mustCharge(t, other, call{name: nameOf("k"), set: set, cost: 10, want: 10, share: 1, total: -1})
	for i, again := range []bool{false, true} {
		back := call{
			name: nameOf("k"), set: set, share: 1, total: 4, seq: int64(7 + i), again: again,
			refunds: []refund{{&issue{slots: first.slots, at: first.now}, 4}},
		}
		if r := mustCharge(t, b, back); r.remaining != 0 {
			t.Errorf("again=%t: a refund of what was lost freed %d events of others", again, r.remaining)
		}
	}
}

// A refund takes no more out of a slot than is in it.
func TestScript_RefundsOnlyWhatItsSlotHas(t *testing.T) {
	b, server := script(t, "a")
	set := testSet(t, 1, false, "10/1h")
	r := mustCharge(t, b, call{name: nameOf("k"), set: set, cost: 2, want: 2, share: 1, total: -1})
	earlier := strconv.FormatInt(r.slots[0]-1, 10)
	if err := server.Client().HSet(t.Context(), b.keys(sharedName("k"), set)[0], earlier, 5).Err(); err != nil {
		t.Fatal(err)
	}
	back := call{
		name: nameOf("k"), set: set, share: 1, total: 2, seq: 7,
		refunds: []refund{{&issue{slots: r.slots, at: r.now}, 6}},
	}
	if r = mustCharge(t, b, back); r.remaining != 5 {
		t.Errorf("after a refund of 6 to a slot of 2: %d remaining, want 5", r.remaining)
	}
}

func TestScript_RestoresWhatRedisLost(t *testing.T) {
	for _, gcra := range []bool{false, true} {
		b, server := script(t, "a")
		set := testSet(t, 12, gcra, "10/1h")
		first := mustCharge(t, b, call{name: nameOf("k"), set: set, cost: 6, want: 6, share: 1, total: -1})
		server.Client().FlushAll(t.Context())
		own := [maxPolicies]uint32{6}
		r := mustCharge(t, b, call{name: nameOf("k"), set: set, cost: 5, want: 5, share: 1, total: first.total, own: own})
		if r.granted != 0 || r.remaining != 4 {
			t.Errorf("gcra=%t: after a loss: granted %d, %d remaining, want none of 5 and 4 remaining", gcra, r.granted, r.remaining)
		}
		if r = mustCharge(t, b, call{name: nameOf("k"), set: set, cost: 4, want: 4, share: 1, total: r.total, own: own}); r.granted != 4 {
			t.Errorf("gcra=%t: the rest of 4 was not granted: %+v", gcra, r)
		}
	}
}

// A replica that took over may lack the last charges: the node that made them
// tells, although the key is there.
func TestScript_RestoresWhatAReplicaLacks(t *testing.T) {
	b, server := script(t, "a")
	set := testSet(t, 1, false, "10/1h")
	take := func(n uint32, total int64, own uint32) *reply {
		return mustCharge(t, b, call{name: nameOf("k"), set: set, cost: n, want: n, share: 1, total: total, own: [maxPolicies]uint32{own}})
	}
	r := take(2, -1, 0)
	key := b.keys(sharedName("k"), set)[0]
	behind := server.Client().HGetAll(t.Context(), key).Val()
	r = take(5, r.total, 2)
	if err := server.Client().HSet(t.Context(), key, behind).Err(); err != nil {
		t.Fatal(err)
	}
	if r = take(4, r.total, 7); r.granted != 0 || r.remaining != 3 {
		t.Errorf("after 5 of 7 charges were lost: granted %d, %d remaining, want none of 4 and 3 remaining", r.granted, r.remaining)
	}
}

// A lease of several windows ends with the shortest one's slot.
func TestScript_LeaseEndsWithTheShortestSlot(t *testing.T) {
	b, _ := script(t, "a")
	for _, rates := range [][]string{{"10/1s", "100/1h"}, {"100/1h", "10/1s"}} {
		set := testSet(t, 2, false, rates...)
		if r := mustCharge(t, b, call{name: nameOf("k"), set: set, cost: 1, want: 1, share: 1, total: -1}); r.slotLeft > second/2 {
			t.Errorf("%v: a lease of %d µs, a slot has %d", rates, r.slotLeft, second/2)
		}
	}
}

func TestScript_KeysExpire(t *testing.T) {
	b, server := script(t, "a")
	set := testSet(t, 12, false, "10/1m", "100/1h")
	mustCharge(t, b, call{name: nameOf("k"), set: set, cost: 1, want: 1, share: 1, total: -1})
	client := server.Client()
	for i, least := range []time.Duration{time.Minute, time.Hour} {
		ttl := client.PTTL(t.Context(), b.keys(sharedName("k"), set)[i]).Val()
		if slot := least / 12; ttl < least+slot || ttl > least+3*slot {
			t.Errorf("policy %d lives for %s, want a window and a slot or a little more", i, ttl)
		}
	}
	if used := client.MemoryUsage(t.Context(), b.keys(sharedName("k"), set)[0]).Val(); used > 400 {
		t.Errorf("a key costs %d bytes in Redis", used)
	}
}

// chaos drives four nodes that saturate a key while something is done to Redis.
func chaos(t *testing.T, set *policySet, server *redistest.Server, disturb func()) (all []admission, slowest time.Duration) {
	const clients = 4
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		start = time.Now()
		stop  = make(chan struct{})
	)
	url := server.URL()
	block := "rate_limit {\nzone " + zoneName() + " {\nrate " + set.policies[0].rate.String() + "\non_error deny\n}\n}"
	for i := range fleetNodes {
		h := newNode(t, url).mustLoad(block)
		if i > 0 {
			z := h.zones[0]
			z.limiter.state = newState(defaultSlots, false)
			z.limiter.backend = newRedisBackend(h.redis, z.name, fmt.Sprint("node", i))
		}
		eventually(t, "redis is there", func() bool { return h.redis.Up() })
		for range clients {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					a := testAsk(h.zones[0].base, "client", 1)
					asked := time.Now()
					d := h.zones[0].limiter.decided(a)
					took := time.Since(asked)
					mu.Lock()
					slowest = max(slowest, took)
					if d.ok {
						all = append(all, admission{time.Since(start).Microseconds(), 1})
					}
					mu.Unlock()
					time.Sleep(time.Millisecond)
				}
			})
		}
	}
	disturb()
	close(stop)
	wg.Wait()
	slices.SortFunc(all, func(a, b admission) int { return int(a.at - b.at) })
	return all, slowest
}

// Redis is killed, comes back empty, is frozen and thawed while four nodes want
// several times the limit: a zone that refuses during outages never admits more
// than the limit in any window, and serves again each time.
func TestChaos_RedisDiesFreezesAndReturns(t *testing.T) {
	server := redistest.Start(t)
	set := testSet(t, defaultSlots, false, "100/1s")
	pause := func() { time.Sleep(700 * time.Millisecond) }
	all, slowest := chaos(t, set, server, func() {
		pause()
		server.Pause()
		pause()
		server.Resume()
		pause()
		server.Kill()
		pause()
		server.Restart()
		time.Sleep(2 * time.Second)
	})
	worst := mostInAnyWindow(all, second)
	t.Logf("%d admitted, %d in the worst second of 100, slowest decision %s", len(all), worst, slowest)
	// A node that has not charged the key since the loss cannot have told yet:
	// nodes ask at least once per slot while the key is busy.
	if worst > 100 {
		t.Errorf("%d admitted in a second, limit 100", worst)
	}
	if last := all[len(all)-1].at; last < 4*second {
		t.Errorf("nothing was admitted after Redis returned: last at %d µs", last)
	}
}

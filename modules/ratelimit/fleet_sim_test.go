package ratelimit

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// plainRedis is a Redis without breaker or timeout.
type plainRedis struct{ redis.Cmdable }

func (p plainRedis) Do(ctx context.Context, fn func(context.Context, redis.Cmdable) error) error {
	return fn(ctx, p.Cmdable)
}

// world is a simulated fleet: nodes with clocks of their own, a Redis that runs
// the real script on simulated time, and calls that take as long as they like,
// or get lost on either way. The oracle is the list of all admissions by true
// time, which no node can see.
type world struct {
	t      *rapid.T
	now    int64 // true time, µs
	server *miniredis.Miniredis
	client redis.Cmdable
	set    *policySet
	lease  leasing
	nodes  []*simNode
	calls  []*simCall
	seen   map[string][]*simAdmission
}

type simNode struct {
	id       int
	accounts *accounts
	backend  *redisBackend
	boot     int64
	ppm      int64 // drift
	asleep   int64 // for how long the monotonic clock stood still
	wallSkew int64
}

type simAdmission struct {
	at   int64
	cost uint32
	node *simNode
	ask  *ask
	d    decision
}

type simCall struct {
	node    *simNode
	call    *call
	ask     *ask // nil: settles only
	reply   *reply
	done    bool // Redis has seen it
	waiters []*ask
}

func (n *simNode) clock(now int64) instant {
	elapsed := now - n.boot - n.asleep
	return instant{
		mono: elapsed + elapsed/1_000_000*n.ppm + elapsed%1_000_000*n.ppm/1_000_000,
		wall: now + n.wallSkew,
	}
}

func (w *world) addNode(id int) *simNode {
	return &simNode{
		id: id, accounts: newAccounts(newMemory(int(w.set.policies[0].slots), w.set.gcra)),
		backend: newRedisBackend(plainRedis{w.client}, "z", fmt.Sprintf("node%d-%d", id, w.now)),
		boot:    w.now - rapid.Int64Range(0, 1e9).Draw(w.t, "uptime"),
		ppm:     rapid.Int64Range(-500, 500).Draw(w.t, "drift"),
	}
}

func (w *world) advance(us int64) {
	w.now += us
	w.server.SetTime(time.UnixMicro(w.now))
	w.server.FastForward(time.Duration(us) * time.Microsecond)
}

func (w *world) ask(n *simNode, a *ask, ph phase) {
	s := n.accounts.begin(a, w.lease, banRule{}, n.clock(w.now), ph)
	switch {
	case s.call != nil:
		w.calls = append(w.calls, &simCall{node: n, call: s.call, ask: a})
	case s.wait != nil:
		for _, c := range w.calls {
			if c.call.flight == s.wait {
				c.waiters = append(c.waiters, a)
			}
		}
	default:
		w.note(n, a, s.decision)
	}
}

func (w *world) note(n *simNode, a *ask, d decision) {
	if d.ok {
		w.seen[a.text] = append(w.seen[a.text], &simAdmission{w.now, a.cost, n, a, d})
	}
}

// reach lets Redis execute a call.
func (w *world) reach(c *simCall) {
	r, err := c.node.backend.charge(context.Background(), c.call)
	if err != nil {
		w.t.Fatalf("the script failed: %v", err)
	}
	c.reply, c.done = r, true
}

// end delivers the reply of a call, or its loss.
func (w *world) end(c *simCall, lost bool) {
	r := c.reply
	if lost {
		r = nil
	}
	d, known := c.node.accounts.finish(c.call, r, c.node.clock(w.now))
	for i := range w.calls {
		if w.calls[i] == c {
			w.calls = append(w.calls[:i], w.calls[i+1:]...)
			break
		}
	}
	switch {
	case c.ask == nil:
	case known:
		w.note(c.node, c.ask, d)
	case !lost:
		w.ask(c.node, c.ask, late)
	}
	for _, a := range c.waiters {
		if lost {
			c.node.accounts.leave(a)
		} else {
			w.ask(c.node, a, waited)
		}
	}
}

// sliver spends what is left of leases as late as a slow clock may, and then all
// that is to be had as soon as the slot of those leases has left the window: if a
// lease outlived its slot by that much, both are in one window.
func (w *world) sliver(t *rapid.T) {
	p := &w.set.policies[0]
	a := &ask{key: KeyOf("k0"), text: "k0", set: w.set, cost: 1, bounds: bounds{keys: 1 << 16, evict: true}}
	everyone := func(times int) {
		for range times {
			for _, n := range w.nodes {
				w.ask(n, a, arrived)
			}
			for len(w.calls) > 0 {
				w.reach(w.calls[0])
				w.end(w.calls[0], false)
			}
		}
	}
	slot := w.now/p.width + 1
	w.advance(slot*p.width - w.now)
	everyone(rapid.IntRange(1, 3).Draw(t, "first"))
	late := rapid.Int64Range(0, p.width/2000).Draw(t, "µs late")
	w.advance((slot+1)*p.width + late - w.now)
	everyone(1)
	w.advance((slot+p.slots+1)*p.width + late/2 - w.now)
	everyone(10)
}

func (w *world) check() {
	for key, all := range w.seen {
		var counted []admission
		for _, a := range all {
			if a.cost > 0 {
				counted = append(counted, admission{a.at, a.cost})
			}
		}
		for i := range w.set.policies {
			p := &w.set.policies[i]
			if worst := mostInAnyWindow(counted, p.window); worst > int(p.limit) {
				w.t.Fatalf("key %s: %d admitted in a window of %d µs, limit %d", key, worst, p.window, p.limit)
			}
		}
	}
}

func newWorld(t *rapid.T, server *miniredis.Miniredis, client redis.Cmdable) *world {
	server.FlushAll()
	slots := rapid.IntRange(1, 15).Draw(t, "slots")
	var rates []Rate
	window := rapid.Int64Range(10_000, 10_000_000).Draw(t, "window")
	for range rapid.IntRange(1, 2).Draw(t, "policies") {
		rates = append(rates, Rate{
			Events: int64(rapid.IntRange(1, 30).Draw(t, "limit")), Window: caddy.Duration(window * 1000),
		})
		window *= rapid.Int64Range(2, 20).Draw(t, "longer")
	}
	set, err := newPolicySet("z", "", rates, slots, false)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: server, client: client, set: set, seen: map[string][]*simAdmission{}}
	w.lease = rapid.SampledFrom([]leasing{
		{mode: leaseOff}, {share: 1}, {share: 2}, {mode: leaseFixed, size: 3}, {mode: leaseFixed, size: 50},
	}).Draw(t, "lease")
	w.advance(rapid.Int64Range(1_700_000_000_000_000, 1_800_000_000_000_000).Draw(t, "start"))
	for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
		w.nodes = append(w.nodes, w.addNode(i))
	}
	return w
}

// many makes rapid.Check try so many random cases of so many steps, with a seed
// of its own that is printed: -rapid.seed repeats a run. A -rapid.checks on the
// command line stands.
func many(t *testing.T, checks, steps int) {
	t.Helper()
	if testing.Short() {
		checks /= 10
	}
	for name, value := range map[string]string{
		"rapid.checks": fmt.Sprint(checks), "rapid.steps": fmt.Sprint(steps), "rapid.seed": fmt.Sprint(rand.Uint64()>>1 + 1),
	} {
		given := false
		flag.Visit(func(f *flag.Flag) { given = given || f.Name == name && !setByMany[name] })
		if !given {
			setByMany[name] = true
			old := flag.Lookup(name).Value.String()
			if err := flag.Set(name, value); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = flag.Set(name, old) })
		}
	}
	t.Logf("seed %s, %s schedules of %s steps on average", flag.Lookup("rapid.seed").Value, flag.Lookup("rapid.checks").Value, flag.Lookup("rapid.steps").Value)
}

// setByMany are the flags that were not given on the command line.
var setByMany = make(map[string]bool)

// TestFleet_NeverOverAdmits replays random schedules: many nodes, clocks that
// drift and stand still, calls that overtake each other, lost requests and
// replies, crashes, refunds, an operator's reset of nothing. Leases must hold
// whatever happens as long as Redis keeps its data.
func TestFleet_NeverOverAdmits(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	many(t, 1000, 50)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, server, client)
		width := w.set.minWidth
		node := func() *simNode { return w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(t, "node")] }
		call := func(t *rapid.T) *simCall {
			if len(w.calls) == 0 {
				t.Skip("no call")
			}
			return w.calls[rapid.IntRange(0, len(w.calls)-1).Draw(t, "call")]
		}
		request := func(t *rapid.T) {
			key := fmt.Sprint("k", rapid.IntRange(0, 1).Draw(t, "key"))
			n, cost := node(), uint32(rapid.SampledFrom([]int{1, 1, 1, 2, 5}).Draw(t, "cost"))
			for range rapid.IntRange(1, 8).Draw(t, "burst") {
				w.ask(n, &ask{key: KeyOf(key), text: key, set: w.set, cost: cost, bounds: bounds{keys: 1 << 16, evict: true}}, arrived)
			}
		}
		deliver := func(t *rapid.T) {
			c := call(t)
			if !c.done {
				w.reach(c)
			}
			w.end(c, false)
		}
		t.Repeat(map[string]func(*rapid.T){
			"request":  request,
			"request2": request,
			"request3": request,
			"deliver":  deliver,
			"deliver2": deliver,
			"reach": func(t *rapid.T) {
				if c := call(t); !c.done {
					w.reach(c)
				}
			},
			"lose": func(t *rapid.T) { w.end(call(t), true) },
			"loseReply": func(t *rapid.T) {
				c := call(t)
				if !c.done {
					w.reach(c)
				}
				w.end(c, true)
			},
			"edge": func(t *rapid.T) { // to about the end of a slot of Redis time
				left := width - w.now%width
				w.advance(max(left+rapid.Int64Range(-3, 3).Draw(t, "µs"), 0))
			},
			"edges": func(t *rapid.T) { // to where a drifting clock could be wrong
				left := width - w.now%width
				w.advance(left + rapid.Int64Range(0, max(width/2500, 1)).Draw(t, "µs"))
			},
			"window": func(t *rapid.T) { // to about a window after an admission
				for _, all := range w.seen {
					if n := len(all); n > 0 {
						p := &w.set.policies[0]
						at := all[rapid.IntRange(0, n-1).Draw(t, "admission")].at + p.window
						w.advance(max(at-w.now+rapid.Int64Range(-2, 2).Draw(t, "µs"), 0))
						return
					}
				}
			},
			"step": func(t *rapid.T) { w.advance(rapid.Int64Range(1, max(width/3, 2)).Draw(t, "µs")) },
			"wait": func(t *rapid.T) { w.advance(rapid.Int64Range(1, 3*width).Draw(t, "µs")) },
			"sleep": func(t *rapid.T) {
				us := rapid.Int64Range(1, 3*width).Draw(t, "µs")
				node().asleep += us
				w.advance(us)
			},
			"settle": func(*rapid.T) {
				n := node()
				for _, c := range n.accounts.due(banRule{}, n.clock(w.now), 10) {
					w.calls = append(w.calls, &simCall{node: n, call: c})
				}
			},
			"sweep": func(*rapid.T) {
				n := node()
				n.accounts.sweep(n.clock(w.now))
				n.accounts.own.table.sweep(n.clock(w.now).mono)
			},
			"refund": func(t *rapid.T) {
				for key, all := range w.seen {
					if len(all) == 0 {
						continue
					}
					a := all[rapid.IntRange(0, len(all)-1).Draw(t, "admission")]
					if a.cost == 0 || w.nodes[a.node.id] != a.node {
						continue
					}
					_ = key
					a.node.accounts.refund(a.ask, &a.d, a.node.clock(w.now))
					a.cost = 0
				}
			},
			"crash": func(*rapid.T) {
				old := node()
				var left []*simCall
				for _, c := range w.calls {
					if c.node != old {
						left = append(left, c)
					}
				}
				w.calls = left
				w.nodes[old.id] = w.addNode(old.id)
			},
			"sliver": func(t *rapid.T) { w.sliver(t) },
			"":       func(*rapid.T) { w.check() },
		})
	})
}

// A lease is what is likely to be spent in the rest of the slot.
func TestScript_LeasesAreSizedByDemand(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	server.SetTime(time.Unix(20_000_000*60, 0)) // a slot begins
	for i, tc := range []struct {
		window string
		demand int64 // in 1000 s
		want   uint32
	}{
		{"1m", 0, 1},
		{"100ms", 4_900, 1},  // 0.49 are expected
		{"100ms", 5_000, 2},  // 0.5
		{"100ms", 19_000, 2}, // 1.9
		{"1m", 25, 1},        // 1.5, but the next call is far away
		{"100ms", 20_000, 3}, // 2: and its square root more
		{"1m", 1_000_000, 60_000 + 244},
		{"1m", 1_000_000_000, 250_000}, // half of what is left
	} {
		b := newRedisBackend(plainRedis{client}, "z", "node")
		set := testSet(t, 1, false, "500000/"+tc.window)
		r, err := b.charge(t.Context(), &call{name: nameOf(fmt.Sprint(i)), set: set, cost: 1, want: 1, share: 2, total: -1, demand: tc.demand})
		if err != nil {
			t.Fatal(err)
		}
		if r.granted != tc.want {
			t.Errorf("demand %d in 1000 s, slot %s: granted %d, want %d", tc.demand, tc.window, r.granted, tc.want)
		}
	}
}

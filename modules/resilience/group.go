package resilience

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// idleExpiry is how long the state of an upstream is kept that no request
	// has asked for: DNS may have stopped naming it, or a reload removed it.
	idleExpiry = time.Hour

	// sweepEvery is how often a group looks for such upstreams, at most.
	sweepEvery = time.Minute

	// maxUpstreams bounds a group whose upstreams are named by placeholders,
	// that is, perhaps by clients. Further ones are served without a memory.
	maxUpstreams = 10_000
)

// settings is what transports of one name must agree on, because it shapes the
// state that they share.
type settings struct {
	rule     Rule
	share    float64 // of extra tries
	floor    int     // extra tries per second
	places   int     // in an upstream's bulkhead; zero without one
	queue    int
	wait     time.Duration
	adaptMin int // zero without an adaptive limit
	adaptMax int
}

// bulkhead returns the bulkhead of an upstream, or nil. An adaptive limit
// resizes it.
func (s *settings) bulkhead() *Bulkhead {
	switch {
	case s.adaptMin > 0:
		return NewBulkhead(NewAdaptive(s.adaptMin, s.adaptMax).Limit(), s.queue, s.wait)
	case s.places > 0:
		return NewBulkhead(s.places, s.queue, s.wait)
	}
	return nil
}

// adaptive returns the adaptive limit of an upstream, or nil.
func (s *settings) adaptive() *Adaptive {
	if s.adaptMin == 0 {
		return nil
	}
	return NewAdaptive(s.adaptMin, s.adaptMax)
}

// Group is the state of all upstreams behind the transports of one name. It
// outlives configs.
type Group struct {
	name string

	// serial is the newest transport whose settings were adopted. A transport
	// takes part with its first request, so a config that is rejected, or one
	// that is draining, changes nothing.
	serial   atomic.Uint64
	settings atomic.Pointer[settings]

	budget    *Budget
	latencies Latencies

	mu        sync.RWMutex
	upstreams map[string]*Upstream // by dial address
	swept     time.Time
}

// newGroup returns an empty group with the settings of its first transport.
func newGroup(name string, s *settings) *Group {
	return &Group{name: name, budget: NewBudget(s.share, s.floor), upstreams: map[string]*Upstream{}}
}

// Destruct implements caddy.Destructor: there is nothing to close.
func (*Group) Destruct() error { return nil }

// adopt makes the settings of a transport the group's, unless a newer one has
// been seen.
func (g *Group) adopt(serial uint64, s *settings) {
	for {
		seen := g.serial.Load()
		if serial <= seen {
			return
		}
		if g.serial.CompareAndSwap(seen, serial) {
			break
		}
	}
	if old := g.settings.Load(); old == nil || *old != *s {
		g.settings.Store(s)
		g.budget.adopt(s.share, s.floor)
	}
}

// Upstream returns the state of the upstream at a dial address.
func (g *Group) Upstream(dial string, s *settings, now time.Time) *Upstream {
	if current := g.settings.Load(); current != nil {
		s = current
	}
	g.mu.RLock()
	u := g.upstreams[dial]
	g.mu.RUnlock()
	if u == nil {
		return g.add(dial, s, now)
	}
	u.touch(s, now)
	return u
}

// add makes the state of an upstream that is new. A group that is full serves
// it without a memory.
func (g *Group) add(dial string, s *settings, now time.Time) *Upstream {
	g.mu.Lock()
	defer g.mu.Unlock()
	if u := g.upstreams[dial]; u != nil {
		return u
	}
	g.sweep(now)
	u := newUpstream(dial, s, now)
	if len(g.upstreams) < maxUpstreams {
		g.upstreams[dial] = u
	}
	return u
}

// sweep forgets upstreams that nobody has asked for. The caller holds the lock.
func (g *Group) sweep(now time.Time) {
	if now.Sub(g.swept) < sweepEvery {
		return
	}
	g.swept = now
	maps.DeleteFunc(g.upstreams, func(_ string, u *Upstream) bool { return u.idle(now) })
}

// list returns the upstreams in the order of their addresses.
func (g *Group) list() []*Upstream {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.SortedFunc(maps.Values(g.upstreams), func(a, b *Upstream) int { return cmp.Compare(a.dial, b.dial) })
}

// Upstream is what is remembered about one upstream. Safe for concurrent use.
type Upstream struct {
	dial     string
	breaker  *Breaker
	settings atomic.Pointer[settings]
	bulkhead atomic.Pointer[Bulkhead] // nil without one
	adaptive atomic.Pointer[Adaptive] // nil without one
	inFlight atomic.Int64
	seen     atomic.Int64 // Unix nanoseconds, to a second
	asked    atomic.Int64 // first try since the last answer, Unix nanoseconds; zero if none
}

func newUpstream(dial string, s *settings, now time.Time) *Upstream {
	u := &Upstream{dial: dial, breaker: NewBreaker(s.rule, now)}
	u.settings.Store(s)
	u.bulkhead.Store(s.bulkhead())
	u.adaptive.Store(s.adaptive())
	u.seen.Store(now.UnixNano())
	return u
}

// touch notes that the upstream is in use and follows changed settings.
func (u *Upstream) touch(s *settings, now time.Time) {
	if at := now.UnixNano(); at-u.seen.Load() > int64(time.Second) {
		u.seen.Store(at)
	}
	old := u.settings.Load()
	if old == s || !u.settings.CompareAndSwap(old, s) || *old == *s {
		return
	}
	u.breaker.Adopt(s.rule)
	if old.places != s.places || old.queue != s.queue || old.wait != s.wait || old.adaptMin != s.adaptMin || old.adaptMax != s.adaptMax {
		u.bulkhead.Store(s.bulkhead())
		u.adaptive.Store(s.adaptive())
	}
}

// idle says whether the upstream may be forgotten. One that an operator has
// forced is never forgotten.
func (u *Upstream) idle(now time.Time) bool {
	return u.inFlight.Load() == 0 && now.UnixNano()-u.seen.Load() > int64(idleExpiry) && !u.breaker.Facts(now).Forced
}

// ready says whether a call to the upstream would be allowed.
func (u *Upstream) ready(now time.Time) bool {
	if !u.breaker.Ready(now) {
		return false
	}
	b := u.bulkhead.Load()
	return b == nil || !b.Full(Normal)
}

// started notes that a try goes out.
func (u *Upstream) started(now time.Time) {
	u.inFlight.Add(1)
	if u.asked.Load() == 0 {
		u.asked.CompareAndSwap(0, now.UnixNano())
	}
}

// answered notes that the upstream is alive.
func (u *Upstream) answered() {
	if u.asked.Load() != 0 {
		u.asked.Store(0)
	}
}

// silent returns for how long the upstream has been asked without answering
// anything.
func (u *Upstream) silent(now time.Time) time.Duration {
	asked := u.asked.Load()
	if asked == 0 {
		return 0
	}
	return time.Duration(now.UnixNano() - asked)
}

// adapt tells the adaptive limit, if there is one, how a call went.
func (u *Upstream) adapt(took time.Duration, overload bool, now time.Time) {
	a, b := u.adaptive.Load(), u.bulkhead.Load()
	if a == nil || b == nil {
		return
	}
	before := a.Limit()
	if limit := a.Done(took, int(u.inFlight.Load()), overload, now); limit != before {
		b.Resize(limit)
	}
}

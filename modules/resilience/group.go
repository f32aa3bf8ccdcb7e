package resilience

import (
	"cmp"
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
	rule Rule
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

	upstreams sync.Map // dial address → *Upstream
	count     atomic.Int64
	swept     atomic.Int64 // when, in Unix nanoseconds
}

// newGroup returns an empty group. It has settings as soon as a transport takes
// part.
func newGroup(name string) *Group { return &Group{name: name} }

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
	}
}

// Upstream returns the state of the upstream at a dial address.
func (g *Group) Upstream(dial string, s *settings, now time.Time) *Upstream {
	if current := g.settings.Load(); current != nil {
		s = current
	}
	if v, ok := g.upstreams.Load(dial); ok {
		u := v.(*Upstream)
		u.touch(s, now)
		return u
	}
	g.sweep(now)
	fresh := newUpstream(dial, s, now)
	if g.count.Load() >= maxUpstreams {
		return fresh
	}
	v, loaded := g.upstreams.LoadOrStore(dial, fresh)
	if !loaded {
		g.count.Add(1)
	}
	return v.(*Upstream)
}

// sweep forgets upstreams that nobody has asked for.
func (g *Group) sweep(now time.Time) {
	last := g.swept.Load()
	if now.UnixNano()-last < int64(sweepEvery) || !g.swept.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	g.upstreams.Range(func(dial, v any) bool {
		if v.(*Upstream).idle(now) {
			g.upstreams.Delete(dial)
			g.count.Add(-1)
		}
		return true
	})
}

// list returns the upstreams in the order of their addresses.
func (g *Group) list() []*Upstream {
	var us []*Upstream
	g.upstreams.Range(func(_, v any) bool {
		us = append(us, v.(*Upstream))
		return true
	})
	slices.SortFunc(us, func(a, b *Upstream) int { return cmp.Compare(a.dial, b.dial) })
	return us
}

// Upstream is what is remembered about one upstream. Safe for concurrent use.
type Upstream struct {
	dial     string
	breaker  *Breaker
	settings atomic.Pointer[settings]
	inFlight atomic.Int64
	seen     atomic.Int64 // Unix nanoseconds, to a second
}

func newUpstream(dial string, s *settings, now time.Time) *Upstream {
	u := &Upstream{dial: dial, breaker: NewBreaker(s.rule, now)}
	u.settings.Store(s)
	u.seen.Store(now.UnixNano())
	return u
}

// touch notes that the upstream is in use and follows changed settings.
func (u *Upstream) touch(s *settings, now time.Time) {
	if at := now.UnixNano(); at-u.seen.Load() > int64(time.Second) {
		u.seen.Store(at)
	}
	if old := u.settings.Load(); old != s && u.settings.CompareAndSwap(old, s) {
		u.breaker.Adopt(s.rule)
	}
}

// idle says whether the upstream may be forgotten. One that an operator has
// forced is never forgotten.
func (u *Upstream) idle(now time.Time) bool {
	return u.inFlight.Load() == 0 && now.UnixNano()-u.seen.Load() > int64(idleExpiry) && !u.breaker.Facts(now).Forced
}

// ready says whether a call to the upstream would be allowed.
func (u *Upstream) ready(now time.Time) bool { return u.breaker.Ready(now) }

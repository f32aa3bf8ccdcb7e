package ratelimit

import (
	"context"
	"time"
)

// state is what a zone remembers. It outlives reloads and holds no config, so
// that a reload which changes a limit keeps the counts and a rejected one
// changes nothing.
type state struct {
	memory   *memory
	accounts *accounts
	bans     *bans
	permits  *permits
	tally    tally
}

func newState(slots int, gcra bool) *state {
	m := newMemory(slots, gcra)
	return &state{memory: m, accounts: newAccounts(m), bans: newBans(), permits: newPermits()}
}

// Destruct lets go of everything. The UsagePool calls it.
func (s *state) Destruct() error { return nil }

// outage is what a zone does without Redis.
type outage uint8

const (
	outageLocal outage = iota
	outageAllow
	outageDeny
)

// limiter decides for a zone by the config of one load. It may be used by many
// goroutines.
type limiter struct {
	*state
	backend backend // nil: this process alone
	lease   leasing
	ban     banRule
	outage  outage
	timeout time.Duration // the longest wait for somebody else's call
	fleet   *fleet        // nil: this process alone
	clock   func() instant
	mono    func() int64 // clock().mono alone, at half the price
}

// maxLate is how often a request may see a reply come too late to be spent, its
// own or that which it waited for, if that goes on for longer than the timeout,
// before Redis counts as failed: a machine that is busy for a moment is no outage.
const maxLate = 3

// take decides about one request and charges it if it is admitted. The decision
// must be empty.
func (l *limiter) take(ctx context.Context, a *ask, d *decision) {
	switch {
	case a.cost == 0 || len(a.set.policies) == 0:
		d.ok, d.source = true, fromConfig
	case l.backend == nil:
		l.takeLocal(a, d)
	default:
		*d = l.takeShared(ctx, a)
	}
}

// takeShared decides by what all nodes count.
func (l *limiter) takeShared(ctx context.Context, a *ask) decision {
	ph, lateReplies, patience := arrived, 0, int64(0)
	tooLate := func() bool {
		if lateReplies++; lateReplies == 1 {
			patience = l.mono() + l.timeout.Microseconds()
		}
		return lateReplies >= maxLate && l.mono() >= patience
	}
	for {
		s := l.accounts.begin(a, l.sizing(), l.ban, l.clock(), ph)
		switch {
		case s.call != nil:
			d, known, err := l.do(ctx, s.call)
			if known {
				return d
			}
			if err != nil || tooLate() {
				return l.takeAlone(a)
			}
			ph = late
		case s.wait != nil:
			if ph == waited && tooLate() || !l.await(s.wait) {
				l.accounts.leave(a)
				return l.takeAlone(a)
			}
			ph = waited
		default:
			return s.decision
		}
	}
}

// do carries out a call. It does not end with the request that makes it: others
// wait for its outcome, and Redis may have charged already.
func (l *limiter) do(ctx context.Context, c *call) (decision, bool, error) {
	start := time.Now()
	r, err := l.backend.charge(context.WithoutCancel(ctx), c)
	l.tally.trip(start, r, err)
	d, known := l.accounts.finish(c, r, l.clock())
	return d, known, err
}

// await reports whether the flight brought anything.
func (l *limiter) await(f *flight) bool {
	timer := time.NewTimer(l.timeout)
	defer timer.Stop()
	select {
	case <-f.done:
		return !f.failed
	case <-timer.C:
		return false
	}
}

func (l *limiter) sizing() leasing {
	s := l.lease
	s.share = 1
	if l.fleet.size() > 1 {
		s.share = 2
	}
	return s
}

// takeLocal decides by this process alone.
func (l *limiter) takeLocal(a *ask, d *decision) {
	l.memory.prefetch(a) // while the clock is read
	now := l.mono()
	if left := l.bans.left(a.key, now); left > 0 {
		d.banned, d.wait, d.reset = true, left, left
		return
	}
	l.memory.decide(a, now, d)
	if !d.ok && !d.full && l.bans.denied(a.key, l.ban, now, a.bounds.keys) {
		d.banned, d.wait, d.reset = true, l.ban.length, l.ban.length
	}
}

// takeAlone decides when Redis does not answer.
func (l *limiter) takeAlone(a *ask) (d decision) {
	switch l.outage {
	case outageAllow:
		slots := l.memory.force(a, a.cost, l.mono())
		l.accounts.admittedAlone(a)
		return decision{ok: true, source: fromFallback, fallback: true, slots: slots}
	case outageDeny:
		return decision{source: fromFallback, fallback: true, wait: retryOutage, reset: retryOutage}
	}
	alone := *a
	alone.share = l.fleet.size()
	l.takeLocal(&alone, &d)
	d.source, d.fallback = fromFallback, true
	if d.ok {
		l.accounts.admittedAlone(a)
	}
	return d
}

// retryOutage is what a client is told to wait when Redis is needed and down.
const retryOutage = int64(time.Second / time.Microsecond)

// refund takes back what an admission charged.
func (l *limiter) refund(a *ask, d *decision) {
	switch {
	case d.source == fromConfig:
	case d.issue != nil:
		l.accounts.refund(a, d, l.clock())
	default:
		l.memory.refund(a.key, a.set, d.slots, a.cost)
		if d.fallback {
			l.accounts.withdraw(a)
		}
	}
}

// settle pays what idle accounts owe, at most limit of them.
func (l *limiter) settle(ctx context.Context, limit int) {
	for _, c := range l.accounts.due(l.ban, l.clock(), limit) {
		_, _, _ = l.do(ctx, c) // a failure is counted, and tried again later
	}
}

// store is where permits are published: nil without Redis.
func (l *limiter) store() permitStore {
	if b, ok := l.backend.(*redisBackend); ok {
		return b
	}
	return nil
}

// enter takes a permit for a request that the caller must leave.
func (l *limiter) enter(ctx context.Context, k Key, text string, limit uint32) bool {
	rule := permitRule{limit: limit, share: l.fleet.size(), outage: l.outage}
	return l.permits.acquire(ctx, k, text, rule, l.store(), l.clock)
}

// leave gives the permit back. What others wait for is published at once, but
// not while the client of this request waits.
func (l *limiter) leave(k Key, limit uint32) {
	if l.permits.release(k) {
		go l.permits.keep(context.Background(), limit, l.store(), l.clock)
	}
}

// sweep forgets what has expired.
func (l *limiter) sweep() {
	now := l.clock()
	l.memory.table.sweep(now.mono)
	l.accounts.sweep(now)
	l.bans.sweep(now.mono)
}

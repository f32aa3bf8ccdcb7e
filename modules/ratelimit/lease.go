package ratelimit

import "time"

const (
	// idleMin is how long a lease may lie unused before it is handed back, and
	// settleAfter how long a passed one waits for a call to ride on.
	idleMin     = int64(250 * time.Millisecond / time.Microsecond)
	settleAfter = int64(500 * time.Millisecond / time.Microsecond)

	// driftMargin is the part of a lease's time given up, because this node's
	// clock may run slower than that of Redis: 0.1%, twice what NTP allows.
	driftMargin = 1000
)

// instant is a moment by this node's clocks, in µs.
type instant struct {
	mono int64 // since the process started; stands still while the machine sleeps
	wall int64 // since 1970; may jump
}

var processStart = time.Now()

func monoNow() int64 { return int64(time.Since(processStart) / time.Microsecond) }

func timeNow() instant {
	t := time.Now()
	return instant{mono: int64(t.Sub(processStart) / time.Microsecond), wall: t.UnixMicro()}
}

// issue is a lease's origin: where it was charged, and how long it is good.
type issue struct {
	slots    [maxPolicies]int64 // in Redis
	local    [maxPolicies]int64 // in own
	at       int64              // Redis time
	deadline instant
}

// demand estimates how many events a key sees.
type demand struct {
	period    int64
	cur, prev uint32
}

func (d *demand) note(now, width int64, cost uint32) {
	d.turn(now / width)
	d.cur += min(cost, maxEvents-min(d.cur, maxEvents))
}

func (d *demand) turn(period int64) {
	switch {
	case period <= d.period:
	case period == d.period+1:
		d.prev, d.cur, d.period = d.cur, 0, period
	default:
		d.prev, d.cur, d.period = 0, 0, period
	}
}

// rate is in events per 1000 s.
func (d *demand) rate(now, width int64) int64 {
	d.turn(now / width)
	seen := float64(d.prev) + float64(d.cur)
	return int64(seen * 1e9 / float64(width+now-d.period*width))
}

// leasing says how leases are sized.
type leasing struct {
	mode  leaseMode
	size  uint32 // with leaseFixed
	share uint32 // a lease takes at most this fraction of what is left
}

type leaseMode uint8

const (
	leaseAuto leaseMode = iota
	leaseOff
	leaseFixed
)

// retire moves a lease whose slot is over to the refunds.
func (c *accounts) retire(s *accountShard, a *account, now instant) {
	if a.lease != nil && !a.lease.good(now) {
		c.giveUp(s, a)
	}
}

// giveUp hands back what is left of the lease.
func (c *accounts) giveUp(s *accountShard, a *account) {
	if a.lease != nil {
		c.giveBack(s, a, a.lease, a.units)
	}
	a.lease, a.units = nil, 0
}

// good reports whether the lease may still be spent. Both clocks are asked: the
// monotonic one stands still while a machine sleeps, the other may jump.
func (i *issue) good(now instant) bool {
	return now.mono < i.deadline.mono && now.wall < i.deadline.wall
}

func (a *account) spend(cost uint32, now instant, by source) decision {
	a.units -= cost
	d := decision{
		ok: true, source: by, policy: a.policy, issue: a.lease,
		remaining: a.remaining + a.units,
		reset:     max(a.resetAt-now.mono, 0),
	}
	if a.units == 0 {
		a.lease = nil
	}
	return d
}

// credit adds what Redis granted to the lease. A rest from another slot is given
// back, since it dies earlier.
func (c *accounts) credit(s *accountShard, acc *account, call *call, r *reply) {
	a := ask{key: call.key, set: call.set, bounds: call.bounds}
	left := r.slotLeft - r.slotLeft/driftMargin
	fresh := &issue{
		slots: r.slots, at: r.now, local: c.own.force(&a, r.granted, call.sent.mono),
		deadline: instant{call.sent.mono + left, call.sent.wall + left},
	}
	if old := acc.lease; old != nil && old.slots == r.slots {
		fresh.at = old.at
		fresh.deadline.mono = min(fresh.deadline.mono, old.deadline.mono)
		fresh.deadline.wall = min(fresh.deadline.wall, old.deadline.wall)
	} else {
		c.giveUp(s, acc)
	}
	acc.lease = fresh
	acc.units += r.granted
}

// refund takes back what a decision charged. If the lease is still good, the
// next request may spend it.
func (c *accounts) refund(a *ask, d *decision, now instant) {
	s := c.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	acc := c.open(s, a)
	if acc.lease == nil && d.issue.good(now) {
		acc.lease = d.issue
	}
	if acc.lease != nil && acc.lease.good(now) && acc.lease.slots == d.issue.slots {
		acc.units += a.cost
		s.mark(acc)
		return
	}
	c.giveBack(s, acc, d.issue, a.cost)
}

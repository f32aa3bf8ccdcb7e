package ratelimit

import (
	"sync/atomic"
	"time"
)

// accounts is what this node holds of the counts that all nodes share: leases it
// may spend, refusals it may repeat, refunds it owes. It is a state machine that
// does no I/O: begin says what to do about a request, and if that is to call
// Redis, finish takes the reply. It may be used by many goroutines.
//
// A lease is charged in Redis before it is spent, to the slot of Redis time in
// which it was issued, and is worthless after that slot. So the sum over all
// nodes never exceeds what Redis counted, whatever a node does: crash (the rest
// stays charged), pause (the deadline has passed), or miss a reply (the same).
type accounts struct {
	shards [shards]accountShard

	// What this node itself admitted, for the time when there is no Redis.
	own *memory

	evicted atomic.Uint64
	seq     atomic.Int64
}

func newAccounts(own *memory) *accounts { return &accounts{own: own} }

// denyMax bounds how long a refusal is repeated without asking Redis, since a
// refund elsewhere may have made room.
const denyMax = int64(time.Second / time.Microsecond)

// account is one key's share. The shard's lock guards it.
type account struct {
	// What spending from a lease touches stands together, a cache line long.
	lease     *issue // nil if nothing is left to spend
	units     uint32 // left to spend
	remaining uint32
	used      int64 // mono
	resetAt   int64 // mono
	denyUntil int64 // mono; repeat the refusal until then
	demand    demand
	set       *policySet

	key  Key
	name keyName // of the key in Redis

	retryAt  int64   // mono; when the refused cost fits
	total    int64   // charged so far, as far as known; -1: unknown
	flight   *flight // nil if no call is under way
	debts    *debts  // nil if none
	waiting  uint32  // cost of those who wait for the flight
	denyCost uint32

	policy uint8 // the tightest, as Redis last said
	banned bool
	alone  bool // admitted without Redis, which must learn of it
	dirty  bool // stands in the shard's list
}

// flight is a call to Redis that others wait for.
type flight struct {
	done   chan struct{}
	failed bool // set before done is closed
}

// banRule is when repeated refusals become a ban; a zero threshold is never.
type banRule struct {
	threshold uint32
	within    int64 // µs
	length    int64 // µs
}

// call is what to ask of Redis, and for whom.
type call struct {
	account *account
	key     Key
	name    keyName
	set     *policySet
	cost    uint32
	want    uint32
	demand  int64
	share   uint32
	total   int64
	own     [maxPolicies]uint32
	refunds []refund
	seq     int64
	again   bool
	denials uint32
	ban     banRule
	bounds  bounds
	sent    instant
	flight  *flight
}

// reply is the answer of Redis to a call. Times are µs, now is Redis time.
type reply struct {
	granted   uint32
	policy    uint8
	remaining uint32
	wait      int64
	reset     int64
	slotLeft  int64
	total     int64
	now       int64
	ban       int64
	slots     [maxPolicies]int64
}

// step is what begin wants done: the decision stands, or call and then finish,
// or wait for the flight and begin again.
type step struct {
	decision decision
	call     *call
	wait     *flight
}

// phase says how often begin has seen a request.
type phase uint8

const (
	arrived phase = iota
	waited        // for a flight
	late          // the reply came when its slot was over
)

// begin handles a request.
func (c *accounts) begin(a *ask, l leasing, ban banRule, now instant, ph phase) step {
	s := c.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	acc := c.open(s, a)
	acc.used = now.mono
	switch ph {
	case arrived:
		acc.demand.note(now.mono, a.set.minWidth, a.cost)
	case waited:
		acc.waiting -= min(acc.waiting, a.cost)
	}
	if now.mono < acc.denyUntil && a.cost >= acc.denyCost && !acc.noteDenial(s, ban) {
		return step{decision: acc.refusal(now, fromDenyCache)}
	}
	c.retire(s, acc, now)
	if acc.lease != nil && acc.units >= a.cost {
		return step{decision: acc.spend(a.cost, now, fromLease)}
	}
	if acc.flight != nil {
		acc.waiting += a.cost
		return step{wait: acc.flight}
	}
	return step{call: c.prepare(acc, a, l, ban, now)}
}

// noteDenial counts a refusal and reports whether so many are unreported that
// Redis must hear of them now, since they may bring a ban.
func (a *account) noteDenial(s *accountShard, ban banRule) (enough bool) {
	if ban.threshold == 0 || a.banned {
		return false
	}
	d := a.owed()
	d.denials++
	s.mark(a)
	return d.denials >= ban.threshold
}

func (a *account) refusal(now instant, by source) decision {
	wait := max(a.retryAt-now.mono, 1)
	return decision{source: by, banned: a.banned, policy: a.policy, remaining: a.remaining, wait: wait, reset: wait}
}

func (c *accounts) prepare(acc *account, a *ask, l leasing, ban banRule, now instant) *call {
	call := c.settle(acc, ban, now)
	call.cost, call.want, call.bounds = a.cost, a.cost+acc.waiting, a.bounds
	call.share = max(l.share, 1)
	switch {
	case a.set.gcra || l.mode == leaseOff:
	case l.mode == leaseFixed:
		call.want = max(call.want, l.size)
	default:
		call.demand = acc.demand.rate(now.mono, a.set.minWidth)
	}
	return call
}

// finish takes the reply to a call, or nil if there was none. It returns the
// caller's decision; !known means that there is none: Redis failed, or the
// reply came too late to be spent and the caller may begin again.
func (c *accounts) finish(call *call, r *reply, now instant) (d decision, known bool) {
	s := c.shard(call.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	acc := call.account
	acc.flight = nil
	defer close(call.flight.done)
	if r == nil {
		call.flight.failed = true
		acc.unpaid(call.denials)
		s.mark(acc)
		return decision{}, false
	}
	acc.paid()
	acc.total = r.total
	acc.policy, acc.remaining = r.policy, r.remaining
	acc.resetAt = call.sent.mono + r.reset
	switch {
	case r.ban > 0:
		acc.deny(call, r.ban, true)
		return acc.refusal(now, fromRedis), true
	case r.granted > 0:
		acc.denyUntil = 0
		c.credit(s, acc, call, r)
	case call.cost > 0:
		acc.deny(call, r.wait, false)
		acc.noteDenial(s, call.ban)
		return acc.refusal(now, fromRedis), true
	}
	c.retire(s, acc, now)
	if call.cost > 0 && acc.units >= call.cost {
		d, known = acc.spend(call.cost, now, fromRedis), true
	}
	if acc.units > 0 {
		s.mark(acc)
	}
	return d, known
}

func (a *account) deny(call *call, wait int64, banned bool) {
	a.denyCost, a.banned = call.cost, banned
	if banned {
		a.denyCost = 0
	}
	a.denyUntil = call.sent.mono + min(wait, denyMax)
	a.retryAt = call.sent.mono + wait
}

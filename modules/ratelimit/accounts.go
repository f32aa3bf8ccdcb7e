package ratelimit

import (
	"math"
	"sync"
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

type accountShard struct {
	mu    sync.Mutex
	open  map[Key]*account
	dirty []*account // may owe Redis something
}

func newAccounts(own *memory) *accounts { return &accounts{own: own} }

const (
	// denyMax bounds how long a refusal is repeated without asking Redis, since
	// a refund elsewhere may have made room.
	denyMax = int64(time.Second / time.Microsecond)

	// idleMin is how long a lease may lie unused before it is handed back, and
	// settleAfter how long a passed one waits for a call to ride on.
	idleMin     = int64(250 * time.Millisecond / time.Microsecond)
	settleAfter = int64(100 * time.Millisecond / time.Microsecond)

	// maxRefunds bounds the refunds of one call; more are dropped, which leaves
	// them charged.
	maxRefunds = 16

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

func timeNow() instant {
	t := time.Now()
	return instant{mono: int64(t.Sub(processStart) / time.Microsecond), wall: t.UnixMicro()}
}

// issue is where a lease was charged.
type issue struct {
	slots [maxPolicies]int64 // in Redis
	local [maxPolicies]int64 // in own
	at    int64              // Redis time
}

type refund struct {
	*issue
	amount uint32
}

// account is one key's share. The shard's lock guards it.
type account struct {
	key  Key
	set  *policySet
	name string // of the key in Redis

	lease    *issue
	units    uint32 // left to spend
	deadline instant

	denyCost  uint32
	denyUntil int64 // mono; repeat the refusal until then
	retryAt   int64 // mono; when the refused cost fits
	banned    bool

	policy    uint8 // the tightest, as Redis last said
	remaining uint32
	resetAt   int64 // mono

	total  int64 // charged so far, as far as known; -1: unknown
	demand demand
	used   int64 // mono

	denials uint32 // not yet reported
	waiting uint32 // cost of those who wait for the flight
	flight  *flight

	dirty   bool
	alone   bool // admitted without Redis, which must learn of it
	again   bool // sent may have been applied
	seq     int64
	pending []refund // to be sent
	sent    []refund // under seq, not yet acknowledged
}

// flight is a call to Redis that others wait for.
type flight struct {
	done   chan struct{}
	failed bool // set before done is closed
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
	name    string
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
	if now.mono < acc.denyUntil && a.cost >= acc.denyCost {
		if ban.threshold > 0 && !acc.banned {
			acc.denials++
			s.mark(acc)
		}
		if acc.denials < ban.threshold || ban.threshold == 0 || acc.banned {
			return step{decision: acc.refusal(now, fromDenyCache)}
		}
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

// retire moves a lease whose slot is over to the refunds.
func (c *accounts) retire(s *accountShard, a *account, now instant) {
	if a.lease == nil || a.good(now) {
		return
	}
	c.giveBack(s, a, a.lease, a.units)
	a.lease, a.units = nil, 0
}

// good reports whether the lease may still be spent. Both clocks are asked: the
// monotonic one stands still while a machine sleeps, the other may jump.
func (a *account) good(now instant) bool {
	return a.lease != nil && now.mono < a.deadline.mono && now.wall < a.deadline.wall
}

// giveBack owes Redis a refund of what was issued and not spent.
func (c *accounts) giveBack(s *accountShard, a *account, from *issue, amount uint32) {
	if amount == 0 {
		return
	}
	c.own.refund(a.key, a.set, from.local, amount)
	for i := range a.pending {
		if a.pending[i].issue == from {
			a.pending[i].amount += amount
			return
		}
	}
	if len(a.pending) >= maxRefunds {
		a.pending = a.pending[1:]
	}
	a.pending = append(a.pending, refund{from, amount})
	s.mark(a)
}

func (a *account) spend(cost uint32, now instant, by source) decision {
	a.units -= cost
	return decision{
		ok: true, source: by, policy: a.policy, issue: a.lease,
		remaining: a.remaining + a.units,
		reset:     max(a.resetAt-now.mono, 0),
	}
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

// settle makes a call that pays what is owed and takes nothing.
func (c *accounts) settle(acc *account, ban banRule, now instant) *call {
	if len(acc.sent) == 0 && len(acc.pending) > 0 {
		acc.sent, acc.pending, acc.again = acc.pending, nil, false
		acc.seq = c.nextSeq(now)
	}
	f := &flight{done: make(chan struct{})}
	acc.flight = f
	call := &call{
		account: acc, key: acc.key, name: acc.name, set: acc.set, share: 1, total: acc.total,
		refunds: acc.sent, again: acc.again, denials: acc.denials, ban: ban, sent: now, flight: f,
	}
	if len(acc.sent) > 0 {
		call.seq = acc.seq
	}
	acc.denials = 0
	call.own, _ = c.own.counted(acc.key, acc.set, now.mono)
	return call
}

// nextSeq numbers batches of refunds, rising also over restarts.
func (c *accounts) nextSeq(now instant) int64 {
	for {
		last := c.seq.Load()
		next := max(last+1, now.wall)
		if c.seq.CompareAndSwap(last, next) {
			return next
		}
	}
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
		acc.again = true
		acc.denials += call.denials
		s.mark(acc)
		return decision{}, false
	}
	acc.sent, acc.alone = nil, false
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
		if call.ban.threshold > 0 {
			acc.denials++
			s.mark(acc)
		}
		return acc.refusal(now, fromRedis), true
	}
	c.retire(s, acc, now)
	if call.cost > 0 && acc.units >= call.cost {
		return acc.spend(call.cost, now, fromRedis), true
	}
	return decision{}, false
}

func (a *account) deny(call *call, wait int64, banned bool) {
	a.denyCost, a.banned = call.cost, banned
	if banned {
		a.denyCost = 0
	}
	a.denyUntil = call.sent.mono + min(wait, denyMax)
	a.retryAt = call.sent.mono + wait
}

// credit adds what Redis granted to the lease. A rest from another slot is given
// back, since it dies earlier.
func (c *accounts) credit(s *accountShard, acc *account, call *call, r *reply) {
	a := ask{key: call.key, set: call.set, bounds: call.bounds}
	fresh := &issue{slots: r.slots, at: r.now, local: c.own.force(&a, r.granted, call.sent.mono)}
	left := r.slotLeft - r.slotLeft/driftMargin
	deadline := instant{call.sent.mono + left, call.sent.wall + left}
	if acc.lease != nil && acc.lease.slots == r.slots {
		fresh.at = acc.lease.at
		deadline.mono = min(deadline.mono, acc.deadline.mono)
		deadline.wall = min(deadline.wall, acc.deadline.wall)
	} else if acc.lease != nil {
		c.giveBack(s, acc, acc.lease, acc.units)
		acc.units = 0
	}
	acc.lease, acc.deadline = fresh, deadline
	acc.units += r.granted
	s.mark(acc)
}

// admittedAlone notes events that were admitted without Redis, so that the next
// call charges them there.
func (c *accounts) admittedAlone(a *ask) {
	s := c.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	acc := c.open(s, a)
	acc.total = max(acc.total, 0) + int64(a.cost)
	acc.alone = true
	s.mark(acc)
}

// withdraw takes back what admittedAlone noted.
func (c *accounts) withdraw(a *ask) {
	s := c.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if acc := c.open(s, a); acc.alone {
		acc.total = max(acc.total-int64(a.cost), 0)
	}
}

// refund takes back what a decision charged. If the lease is still good, the
// next request may spend it.
func (c *accounts) refund(a *ask, d *decision, now instant) {
	s := c.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	acc := c.open(s, a)
	if acc.good(now) && acc.lease.slots == d.issue.slots {
		acc.units += a.cost
		s.mark(acc)
		return
	}
	c.giveBack(s, acc, d.issue, a.cost)
}

func (c *accounts) shard(k Key) *accountShard { return &c.shards[k.hi>>(64-shardBits)] }

func accountKey(k Key, set *policySet) Key { return Key{k.hi, k.lo ^ uint64(set.id)<<32} }

// open returns the account of a key. If there are too many, another one goes:
// what it had left to spend stays charged.
func (c *accounts) open(s *accountShard, a *ask) *account {
	k := accountKey(a.key, a.set)
	if acc := s.open[k]; acc != nil {
		if acc.set.limits != a.set.limits { // a reload changed the limit
			acc.denyUntil = 0
		}
		acc.set = a.set
		return acc
	}
	if s.open == nil {
		s.open = make(map[Key]*account)
	}
	if len(s.open) >= a.bounds.perShard() {
		c.evict(s)
	}
	acc := &account{key: a.key, set: a.set, name: sharedName(a.text), total: -1}
	s.open[k] = acc
	return acc
}

func (c *accounts) evict(s *accountShard) {
	tries := 0
	for k, acc := range s.open {
		if acc.flight == nil && acc.waiting == 0 {
			c.evicted.Add(1)
			delete(s.open, k)
			return
		}
		if tries++; tries > evictionSample {
			return
		}
	}
}

func (s *accountShard) mark(a *account) {
	if !a.dirty {
		a.dirty = true
		s.dirty = append(s.dirty, a)
	}
}

// forget makes the next request of a key ask Redis: an operator changed what is
// known there. What is left of a lease is given back.
func (c *accounts) forget(k Key) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, acc := range s.open {
		if acc.key == k {
			acc.denyUntil, acc.denials = 0, 0
			c.giveBack(s, acc, acc.lease, acc.units)
			acc.lease, acc.units = nil, 0
		}
	}
}

// leave is for a request that waited for a flight and gives up.
func (c *accounts) leave(a *ask) {
	s := c.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	acc := c.open(s, a)
	acc.waiting -= min(acc.waiting, a.cost)
}

// due returns at most limit calls that settle what idle accounts owe.
func (c *accounts) due(ban banRule, now instant, limit int) []*call {
	var calls []*call
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		keep := s.dirty[:0]
		for _, acc := range s.dirty {
			if len(calls) < limit && acc.flight == nil && c.idle(s, acc, now) {
				acc.dirty = false
				if acc.owes() {
					calls = append(calls, c.settle(acc, ban, now))
				}
				continue
			}
			keep = append(keep, acc)
		}
		clear(s.dirty[len(keep):])
		s.dirty = keep
		s.mu.Unlock()
	}
	return calls
}

// idle reports whether no request is likely to take the account's debts along
// soon. A lease that nobody spends is given back early.
func (c *accounts) idle(s *accountShard, a *account, now instant) bool {
	if a.lease != nil && a.units > 0 {
		patience := idleMin
		if rate := a.demand.rate(now.mono, a.set.minWidth); rate > 0 {
			patience = max(patience, int64(min(8e9/float64(rate), math.MaxInt32)))
		}
		if now.mono < a.deadline.mono && now.mono-a.used < patience {
			return false
		}
		if now.mono < a.deadline.mono+settleAfter && now.mono-a.used < patience {
			return false
		}
		c.giveBack(s, a, a.lease, a.units)
		a.lease, a.units = nil, 0
	}
	return now.mono-a.used >= settleAfter
}

func (a *account) owes() bool {
	return a.alone || len(a.pending)+len(a.sent) > 0 || a.denials > 0
}

// sweep closes accounts that hold nothing.
func (c *accounts) sweep(now instant) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for k, acc := range s.open {
			if !acc.dirty && acc.flight == nil && acc.waiting == 0 && now.mono >= acc.denyUntil &&
				now.mono-acc.used > max(2*acc.set.minWidth, denyMax) && (acc.lease == nil || now.mono >= acc.deadline.mono) {
				delete(s.open, k)
			}
		}
		s.mu.Unlock()
	}
}

// size is the number of accounts.
func (c *accounts) size() int {
	total := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		total += len(s.open)
		s.mu.Unlock()
	}
	return total
}

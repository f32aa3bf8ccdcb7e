package ratelimit

import "math"

// maxRefunds bounds the refunds of one call; more are dropped, which leaves them
// charged.
const maxRefunds = 16

// debts is what Redis has to be told of a key, at the next call or by a call of
// its own. The shard's lock guards it.
type debts struct {
	denials uint32   // not yet reported
	pending []refund // to be sent
	sent    []refund // under seq, not yet acknowledged
	seq     int64
	again   bool // sent may have been applied
}

type refund struct {
	*issue
	amount uint32
}

// owed returns the account's debts to be added to.
func (a *account) owed() *debts {
	if a.debts == nil {
		a.debts = new(debts)
	}
	return a.debts
}

func (a *account) owes() bool {
	return a.alone || a.debts != nil
}

// paid is for a call that Redis answered.
func (a *account) paid() {
	a.alone = false
	if d := a.debts; d != nil {
		if d.sent = nil; len(d.pending) == 0 && d.denials == 0 {
			a.debts = nil
		}
	}
}

// unpaid is for a call without answer: Redis may or may not know.
func (a *account) unpaid(denials uint32) {
	if a.debts == nil && denials == 0 {
		return
	}
	d := a.owed()
	d.again = true
	d.denials += denials
}

// giveBack owes Redis a refund of what was issued and not spent.
func (c *accounts) giveBack(s *accountShard, a *account, from *issue, amount uint32) {
	if amount == 0 {
		return
	}
	c.own.refund(a.key, a.set, from.local, amount)
	s.mark(a)
	d := a.owed()
	for i := range d.pending {
		if d.pending[i].issue == from {
			d.pending[i].amount += amount
			return
		}
	}
	if len(d.pending) >= maxRefunds {
		d.pending = d.pending[1:]
	}
	d.pending = append(d.pending, refund{from, amount})
}

// settle makes a call that pays what is owed and takes nothing.
func (c *accounts) settle(acc *account, ban banRule, now instant) *call {
	f := &flight{done: make(chan struct{})}
	acc.flight = f
	call := &call{
		account: acc, key: acc.key, name: acc.name, set: acc.set, share: 1, total: acc.total,
		ban: ban, sent: now, flight: f,
	}
	if d := acc.debts; d != nil {
		if len(d.sent) == 0 && len(d.pending) > 0 {
			d.sent, d.pending, d.again = d.pending, nil, false
			d.seq = c.nextSeq(now)
		}
		call.refunds, call.again, call.denials = d.sent, d.again, d.denials
		if len(d.sent) > 0 {
			call.seq = d.seq
		}
		d.denials = 0
	}
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
		if now.mono < a.lease.deadline.mono+settleAfter && now.mono-a.used < patience {
			return false
		}
		c.giveUp(s, a)
	}
	return now.mono-a.used >= settleAfter
}

package ratelimit

import "sync"

// accountShard is one lock's share of the accounts.
type accountShard struct {
	mu    sync.Mutex
	open  map[Key]*account
	dirty []*account // may owe Redis something; each stands here once

	_ [88]byte // keeps neighbours' locks off this cache line
}

// accountsPerKey is the share of a zone's keys that may have an account at once:
// those that were busy last. The others are known to Redis, and to own.
const accountsPerKey = 4

func (b bounds) accountsPerShard() int { return max(b.perShard()/accountsPerKey, evictionSample) }

func (c *accounts) shard(k Key) *accountShard { return &c.shards[k.shard()] }

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
	var acc *account
	if len(s.open) >= a.bounds.accountsPerShard() {
		acc = c.evict(s)
	}
	if acc == nil {
		acc = new(account)
	}
	*acc = account{key: a.key, set: a.set, name: nameOf(a.text), total: -1, dirty: acc.dirty}
	s.open[k] = acc
	return acc
}

// evict closes one of a few accounts, if possible one that holds nothing, and
// returns its memory. Those that a call is under way for stay.
func (c *accounts) evict(s *accountShard) *account {
	var victim *account
	tries := 0
	for _, acc := range s.open {
		if acc.flight == nil && acc.waiting == 0 {
			if victim = acc; acc.lease == nil && !acc.owes() {
				break
			}
		}
		if tries++; tries >= evictionSample {
			break
		}
	}
	if victim != nil {
		c.evicted.Add(1)
		delete(s.open, accountKey(victim.key, victim.set))
	}
	return victim
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
			acc.denyUntil = 0
			if acc.debts != nil {
				acc.debts.denials = 0
			}
			c.giveUp(s, acc)
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

// sweep closes accounts that hold nothing.
func (c *accounts) sweep(now instant) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for k, acc := range s.open {
			if !acc.dirty && acc.flight == nil && acc.waiting == 0 && now.mono >= acc.denyUntil &&
				now.mono-acc.used > max(2*acc.set.minWidth, denyMax) && (acc.lease == nil || now.mono >= acc.lease.deadline.mono) {
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

package ratelimit

const (
	// evictionSample is how many records are compared when one must go.
	evictionSample = 8

	// carriers is the number of shared records per shard and policy in which
	// evicted ones live on.
	carriers = 64
)

// makeRoom removes an expired record or, if the asker's bounds allow it, evicts
// the one with the least to remember among a few. The asker's own stay.
func (t *table) makeRoom(s *shard, a *ask, now int64) bool {
	best, least := -1, counts{}
	for seen, steps := 0, 0; seen < evictionSample && steps < len(s.heads); steps++ {
		s.hand = s.after(s.hand)
		id := s.heads[s.hand].id()
		if id == 0 || a.owns(id) {
			continue
		}
		s.hold(s.hand)
		if t.expiry(s, s.hand) <= now {
			t.remove(s, s.hand)
			return true
		}
		here := s.heads[s.hand].counts
		s.free(s.hand)
		seen++
		if best < 0 || here.lighter(&least) {
			best, least = s.hand, here
		}
	}
	if best < 0 || !a.bounds.evict {
		return false
	}
	s.hold(best)
	t.carry(s, best)
	t.remove(s, best)
	t.evicted.Add(1)
	return true
}

// owns reports whether a record is one of the asker's: making one for a policy
// must not cost it that for another.
func (a *ask) owns(id uint64) bool {
	for i := range a.set.policies {
		if a.key.under(&a.set.policies[i]).id() == id {
			return true
		}
	}
	return false
}

// lighter reports whether less is lost with c than with o. Under gcra all sums
// are zero, and the arrival times say how much each has counted.
func (c *counts) lighter(o *counts) bool {
	return c.sum < o.sum || c.sum == o.sum && c.since < o.since
}

// carry keeps what a record that the caller holds counts in one that many keys share: a key that comes
// back may be refused too early, but never too late.
func (t *table) carry(s *shard, i int) {
	k := s.kinds[s.policies[i]]
	k.carriers(t.ring).shared(s.heads[i].id(), t.ring).absorb(s.record(i, t.ring))
}

// carriers returns the shared records to be added to.
func (k *kind) carriers(ring int) *rows {
	if k.carried == nil {
		k.carried = newRows(carriers, ring)
	}
	return k.carried
}

// shared is a key's record among carriers.
func (w *rows) shared(id uint64, ring int) record {
	return w.record(int(id%carriers), ring)
}

// expired reports whether carriers have nothing more to remember.
func (w *rows) expired(width int64, ring int, now int64) bool {
	for i := range w.heads {
		h := &w.heads[i]
		if ring == 0 && h.since > now || h.sum > 0 && (h.slot+int64(ring))*width > now {
			return false
		}
	}
	return true
}

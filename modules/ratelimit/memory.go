package ratelimit

// memory decides by this process's counts alone. It is the whole limiter when
// there is no Redis, and what this node remembers of itself when there is. It
// may be used by many goroutines.
type memory struct {
	table *table
}

func newMemory(slots int, gcra bool) *memory {
	if gcra {
		return &memory{table: newTable(0)}
	}
	return &memory{table: newTable(slots + 1)}
}

// ask is one question to a limiter: small values only, so that whoever asks
// needs no *http.Request.
type ask struct {
	key    Key
	text   string // the key itself, for Redis
	set    *policySet
	cost   uint32
	share  uint32 // the limit is divided by this; 0 and 1 mean the whole
	bounds bounds
}

// bounds limits the memory of a table.
type bounds struct {
	keys  int  // records per table
	evict bool // carry old ones over into shared records; else refuse new keys
}

func (b bounds) perShard() int { return max((b.keys+shards-1)/shards, 1) }

// source says who decided.
type source uint8

const (
	fromMemory source = iota
	fromLease
	fromRedis
	fromDenyCache
	fromFallback
	fromConfig
)

// decision is the answer to an ask.
type decision struct {
	ok     bool
	source source
	banned bool
	full   bool // refused for want of memory

	fallback bool // Redis did not take part
	crowded  bool // refused for too many requests at once

	// The policy that refused or, of an admission, has the least left.
	policy uint8

	remaining uint32 // events left under that policy
	wait      int64  // µs until the refused cost fits
	reset     int64  // µs until remaining next grows

	// Where the cost was charged, for a refund.
	slots [maxPolicies]int64
	issue *issue // in Redis
}

// prefetch is for who will call decide soon: what comes between costs nothing.
func (m *memory) prefetch(a *ask) {
	w := m.table.seizable[a.key.shard()].Load()
	for i := range a.set.policies {
		w.prefetch(a.key.under(&a.set.policies[i]).id())
	}
}

// take admits and charges, or refuses and charges nothing.
func (m *memory) take(a *ask, now int64) (d decision) {
	m.decide(a, now, &d)
	return d
}

// decide is take into a decision that is empty: copying one costs as much as
// making it.
func (m *memory) decide(a *ask, now int64, d *decision) {
	if len(a.set.policies) > 1 || !m.decideSeized(a, now, d) {
		m.decideLocked(a, now, d)
	}
}

// decideSeized decides about a key that has a record and one policy, if nobody
// else is about to. It needs no lock but the record's own, which a panic would
// leave held for ever: nothing between seize and free may panic.
func (m *memory) decideSeized(a *ask, now int64, d *decision) bool {
	w := m.table.seizable[a.key.shard()].Load()
	i, ok := w.seize(a.key.under(&a.set.policies[0]).id())
	if !ok {
		return false
	}
	held := [1]record{w.record(i, m.table.ring)}
	a.decide(held[:], now, d)
	w.free(i)
	return true
}

func (m *memory) decideLocked(a *ask, now int64, d *decision) {
	s := m.table.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	places, full, ok := m.open(s, a, now)
	if !ok {
		*d = full
		return
	}
	var held [maxPolicies]record
	for i := range a.set.policies {
		held[i] = s.record(places[i], m.table.ring)
	}
	a.decide(held[:len(a.set.policies)], now, d)
	m.close(s, a, &places)
}

// decide charges the records of all policies, or none.
func (a *ask) decide(held []record, now int64, d *decision) {
	d.ok, d.remaining = true, ^uint32(0)
	if a.set.gcra {
		a.decideSmooth(held, now, d)
		return
	}
	for i, r := range held {
		r.advance(now / a.set.policies[i].width)
		a.judge(r, i, now, d)
	}
	if !d.ok {
		return
	}
	for i, r := range held {
		r.charge(a.cost)
		d.slots[i] = r.slot
	}
}

// judge brings one policy's verdict into the decision. A refusal is reported for
// the policy that takes longest, an admission for the one with the least left.
func (a *ask) judge(r record, i int, now int64, d *decision) {
	p := &a.set.policies[i]
	limit := a.limit(p)
	if !r.fits(limit, a.cost) {
		if w := r.wait(p, limit, a.cost, now); d.ok || w > d.wait {
			*d = decision{policy: uint8(i), wait: w, reset: w, remaining: limit - min(limit, r.sum)}
		}
		return
	}
	if left := limit - r.sum - a.cost; d.ok && left < d.remaining {
		d.policy, d.remaining = uint8(i), left
		if d.reset = r.reset(p, now); d.reset == 0 {
			d.reset = (r.slot+p.slots+1)*p.width - now
		}
	}
}

// limit is the asker's share of a policy's limit, at least one event if the
// limit is.
func (a *ask) limit(p *policy) uint32 {
	if a.share <= 1 || p.limit == 0 {
		return p.limit
	}
	return max(p.limit/a.share, 1)
}

// open finds and holds the places of a key's records under all policies and
// makes those that are missing. If there is no room, it holds nothing and returns
// the decision to refuse. The caller has the shard's lock.
func (m *memory) open(s *shard, a *ask, now int64) (places [maxPolicies]int, full decision, ok bool) {
	for i := range a.set.policies {
		p := &a.set.policies[i]
		if s.find(a.key.under(p)) < 0 && !m.table.insert(s, a, p, now) {
			return places, decision{full: true, policy: uint8(i), wait: p.width}, false
		}
	}
	for i := range a.set.policies { // only now: an insertion may move the others
		places[i] = s.find(a.key.under(&a.set.policies[i]))
		s.hold(places[i])
	}
	return places, full, true
}

// close ends open.
func (m *memory) close(s *shard, a *ask, places *[maxPolicies]int) {
	for i := range a.set.policies {
		s.free(places[i])
	}
}

// nowhere is the slot of events that are in no record of the key's own, so that
// no refund can take them back.
const nowhere = -1

// force counts events that were admitted elsewhere, whatever the limit, and
// returns where.
func (m *memory) force(a *ask, cost uint32, now int64) (slots [maxPolicies]int64) {
	s := m.table.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range a.set.policies {
		slots[i] = m.forceUnder(s, a, &a.set.policies[i], cost, now)
	}
	return slots
}

// forceUnder is force under one policy. Without room the events are counted
// where those of evicted keys are: the key may be refused too early when it gets
// a record, but what it was admitted is not forgotten.
func (m *memory) forceUnder(s *shard, a *ask, p *policy, cost uint32, now int64) (slot int64) {
	k := a.key.under(p)
	if s.find(k) < 0 && !m.table.insert(s, a, p, now) {
		s.kind(p).carriers(m.table.ring).shared(k.id(), m.table.ring).force(p, a.set.gcra, cost, now)
		return nowhere
	}
	n := s.find(k)
	s.hold(n)
	defer s.free(n)
	return s.record(n, m.table.ring).force(p, a.set.gcra, cost, now)
}

// force counts events whatever the limit and returns where.
func (r record) force(p *policy, gcra bool, cost uint32, now int64) (slot int64) {
	if gcra {
		r.since = min(max(r.since, now)+p.span(cost), maxSpan)
		return now
	}
	r.advance(now / p.width)
	r.charge(cost)
	return r.slot
}

// refund takes back what was charged to the given slots.
func (m *memory) refund(k Key, set *policySet, slots [maxPolicies]int64, cost uint32) {
	m.each(k, set, func(i int, p *policy, r record) {
		switch {
		case slots[i] == nowhere:
		case set.gcra:
			r.since -= p.span(cost)
		default:
			r.refund(slots[i], cost)
		}
	})
}

// counted returns what each policy counts for a key at the moment.
func (m *memory) counted(k Key, set *policySet, now int64) (sums [maxPolicies]uint32, known bool) {
	known = m.each(k, set, func(i int, p *policy, r record) {
		if set.gcra {
			sums[i] = smoothCount(p, r.since, now)
			return
		}
		r.advance(now / p.width)
		sums[i] = r.sum
	})
	return sums, known
}

// reset forgets what is counted for a key and reports whether anything was.
func (m *memory) reset(k Key, set *policySet) (known bool) {
	return m.each(k, set, func(_ int, _ *policy, r record) { r.clear() })
}

// each shows the records that a key has, one by one, and reports whether there
// are any.
func (m *memory) each(k Key, set *policySet, show func(i int, p *policy, r record)) (known bool) {
	s := m.table.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range set.policies {
		p := &set.policies[i]
		if n := s.find(k.under(p)); n >= 0 {
			s.hold(n)
			show(i, p, s.record(n, m.table.ring))
			s.free(n)
			known = true
		}
	}
	return known
}

package ratelimit

import (
	"sync"
	"sync/atomic"
)

const (
	shardBits = 6
	shards    = 1 << shardBits

	// evictionSample is how many records are compared when one must go.
	evictionSample = 8

	// carriers is the number of shared records per shard and policy in which
	// evicted ones live on.
	carriers = 64
)

// table holds the records of a zone: an open-addressing index into flat slices,
// without a pointer per key, so that a million keys cost the garbage collector
// nothing. It may be used by many goroutines.
type table struct {
	shards [shards]shard
	ring   int // length of a record's ring; zero under gcra

	evicted atomic.Uint64
	refused atomic.Uint64
}

func newTable(ring int) *table { return &table{ring: ring} }

// shard is one lock's share of a table.
type shard struct {
	mu    sync.Mutex
	index []uint64 // see entry
	heads []head
	rings []uint32
	free  []uint32
	hand  int // where eviction looks next

	// The shared records of evicted keys, by policy id.
	carried map[uint32]*carrier

	_ [40]byte // keeps neighbours' locks off this cache line
}

type carrier struct {
	heads [carriers]head
	rings []uint32
}

func (t *table) shard(k Key) *shard { return &t.shards[k.hi>>(64-shardBits)] }

func (s *shard) record(i uint32, ring int) record {
	o := int(i) * ring
	return record{&s.heads[i], s.rings[o : o+ring : o+ring]}
}

// find returns the number of a key's record.
func (s *shard) find(k Key) (uint32, bool) {
	if len(s.index) == 0 {
		return 0, false
	}
	mask := uint64(len(s.index) - 1)
	for at := k.lo & mask; ; at = (at + 1) & mask {
		e := s.index[at]
		if e == 0 {
			return 0, false
		}
		// Only a record with the same tag is worth the walk to its memory.
		if e>>32 == k.lo>>32 && s.heads[recordOf(e)].key == k {
			return recordOf(e), true
		}
	}
}

// entry is what the index says of a record: part of its key's hash, and its
// number plus one. Zero is a vacant place.
func entry(k Key, n uint32) uint64 { return k.lo>>32<<32 | uint64(n+1) }

func recordOf(e uint64) uint32 { return uint32(e) - 1 }

// insert makes a record for a key that has none. With the table full it reuses
// an expired record, or evicts one if evict is set; else it returns false.
func (t *table) insert(s *shard, k Key, p *policy, now int64, room int, evict bool) (uint32, bool) {
	i, ok := t.vacant(s, now, room, evict)
	if !ok {
		t.refused.Add(1)
		return 0, false
	}
	r := s.record(i, t.ring)
	*r.head = head{key: k, slot: now / p.width, policy: p.id}
	clear(r.ring)
	if c := s.carried[p.id]; c != nil {
		r.absorb(c.record(k, t.ring))
	}
	s.link(i)
	return i, true
}

// vacant finds a place for one more record.
func (t *table) vacant(s *shard, now int64, room int, evict bool) (uint32, bool) {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i, true
	}
	if len(s.heads) < room {
		s.heads = append(s.heads, head{})
		s.rings = append(s.rings, make([]uint32, t.ring)...)
		if len(s.heads)*4 > len(s.index)*3 {
			s.grow()
		}
		return uint32(len(s.heads) - 1), true
	}
	return t.victim(s, now, evict)
}

// victim unlinks an expired record or, if it may evict, the one with the least
// to remember among a few; what that one counted is carried on.
func (t *table) victim(s *shard, now int64, evict bool) (uint32, bool) {
	best := -1
	for range evictionSample {
		if s.hand++; s.hand >= len(s.heads) {
			s.hand = 0
		}
		h := &s.heads[s.hand]
		if h.expiry <= now {
			s.unlink(uint32(s.hand))
			return uint32(s.hand), true
		}
		if best < 0 || h.sum < s.heads[best].sum {
			best = s.hand
		}
	}
	if !evict {
		return 0, false
	}
	t.carry(s, s.record(uint32(best), t.ring))
	s.unlink(uint32(best))
	t.evicted.Add(1)
	return uint32(best), true
}

func (t *table) carry(s *shard, r record) {
	c := s.carried[r.policy]
	if c == nil {
		if s.carried == nil {
			s.carried = make(map[uint32]*carrier)
		}
		c = &carrier{rings: make([]uint32, carriers*t.ring)}
		s.carried[r.policy] = c
	}
	c.record(r.key, t.ring).absorb(r)
}

func (c *carrier) record(k Key, ring int) record {
	i := int(k.hi>>(64-shardBits-6)) % carriers
	o := i * ring
	return record{&c.heads[i], c.rings[o : o+ring : o+ring]}
}

// grow doubles the index.
func (s *shard) grow() {
	s.index = make([]uint64, max(2*len(s.index), 16))
	for i := range s.heads[:len(s.heads)-1] {
		s.link(uint32(i))
	}
}

func (s *shard) link(i uint32) {
	mask := uint64(len(s.index) - 1)
	at := s.heads[i].key.lo & mask
	for s.index[at] != 0 {
		at = (at + 1) & mask
	}
	s.index[at] = entry(s.heads[i].key, i)
}

// unlink takes a record out of the index and moves up those behind it, so that
// searches need no tombstones.
func (s *shard) unlink(i uint32) {
	mask := uint64(len(s.index) - 1)
	at := s.heads[i].key.lo & mask
	for recordOf(s.index[at]) != i {
		at = (at + 1) & mask
	}
	for next := (at + 1) & mask; s.index[next] != 0; next = (next + 1) & mask {
		home := s.heads[recordOf(s.index[next])].key.lo & mask
		if (next-home)&mask >= (next-at)&mask {
			s.index[at] = s.index[next]
			at = next
		}
	}
	s.index[at] = 0
}

// sweep gives the places of expired records back for reuse.
func (t *table) sweep(now int64) {
	for n := range t.shards {
		s := &t.shards[n]
		s.mu.Lock()
		s.sweep(now)
		s.mu.Unlock()
	}
}

func (s *shard) sweep(now int64) {
	vacant := make([]bool, len(s.heads))
	for _, i := range s.free {
		vacant[i] = true
	}
	for i := range s.heads {
		if !vacant[i] && s.heads[i].expiry <= now {
			s.unlink(uint32(i))
			s.free = append(s.free, uint32(i))
		}
	}
	if len(s.free) == len(s.heads) { // a shard at rest returns its memory
		s.index, s.heads, s.rings, s.free, s.hand = nil, nil, nil, nil, 0
	}
}

// size is the number of records.
func (t *table) size() int {
	total := 0
	for n := range t.shards {
		s := &t.shards[n]
		s.mu.Lock()
		total += len(s.heads) - len(s.free)
		s.mu.Unlock()
	}
	return total
}

package ratelimit

import (
	"sync"
	"sync/atomic"
)

const (
	shardBits = 6
	shards    = 1 << shardBits

	// A shard has at least densest places per record, so that searches are
	// short, and at most sparsest after it grew. A record of 12 slots thus costs
	// 176 to 264 bytes.
	densest, sparsest = 2, 3

	minPlaces = 16
)

// table holds the records of a zone. It may be used by many goroutines.
type table struct {
	// The shards' rows, for those who seize a place: apart from what changes
	// with every use of a lock.
	seizable [shards]atomic.Pointer[rows]
	ring     int // length of a record's ring; zero under gcra

	_ [64]byte

	shards  [shards]shard
	evicted atomic.Uint64
}

func newTable(ring int) *table {
	t := &table{ring: ring}
	for i := range t.shards {
		t.shards[i].seizable = &t.seizable[i]
		t.shards[i].publish(noRows)
	}
	return t
}

// shard is one lock's share of a table.
type shard struct {
	mu   sync.Mutex
	used int
	hand int // where eviction looks next
	*rows
	seizable *atomic.Pointer[rows]

	kinds map[uint32]*kind // by policy id

	_ [80]byte // keeps neighbours' locks off this cache line
}

// publish replaces the rows. All places of the old ones are vacant or held.
func (s *shard) publish(w *rows) {
	s.rows, s.hand = w, 0
	s.seizable.Store(w)
}

// kind is what the records of one policy have in common.
type kind struct {
	width   int64
	carried *rows // see carry; nil as long as no record had to go
}

// kind returns what a policy's records have in common.
func (s *shard) kind(p *policy) *kind {
	k := s.kinds[p.id]
	if k == nil {
		if s.kinds == nil {
			s.kinds = make(map[uint32]*kind, 1)
		}
		k = &kind{width: p.width}
		s.kinds[p.id] = k
	}
	return k
}

func (t *table) shard(k Key) *shard { return &t.shards[k.shard()] }

// find returns the place of a key's record, or -1.
func (s *shard) find(k Key) int {
	if s.used == 0 {
		return -1
	}
	id := k.id()
	for i := s.home(id); ; i = s.after(i) {
		switch s.heads[i].id() {
		case id:
			return i
		case 0:
			return -1
		}
	}
}

// insert makes a record for a key that has none. With the shard full it takes
// the place of an expired record, or evicts another key's if the asker's bounds
// say so; else it returns false. Places that were found before may have moved.
func (t *table) insert(s *shard, a *ask, p *policy, now int64) bool {
	if room := a.bounds.perShard(); s.used >= room {
		if !t.makeRoom(s, a, now) {
			return false
		}
	} else if (s.used+1)*densest > len(s.heads) {
		t.resize(s, max(min((s.used+1)*sparsest, room*densest), minPlaces))
	}
	id := a.key.under(p).id()
	i := s.vacant(id)
	r := s.record(i, t.ring)
	*r.counts = counts{slot: now / p.width}
	clear(r.ring)
	s.policies[i] = p.id
	if k := s.kind(p); k.carried != nil {
		r.absorb(k.carried.shared(id, t.ring))
	}
	s.used++
	s.heads[i].key.Store(id) // from here on it may be seized
	return true
}

// resize moves the records to as many places.
func (t *table) resize(s *shard, places int) {
	bigger := newRows(places, t.ring)
	for i := range s.heads {
		if id := s.heads[i].id(); id != 0 {
			s.hold(i) // for ever: who still looks here must ask again
			bigger.move(bigger.vacant(id), s.rows, i, t.ring)
		}
	}
	s.publish(bigger)
}

// remove vacates a place that the caller holds and moves up those behind it, so
// that searches need no tombstones.
func (t *table) remove(s *shard, i int) {
	for next := s.after(i); ; next = s.after(next) {
		id := s.heads[next].id()
		if id == 0 {
			break
		}
		if s.distance(s.home(id), next) >= s.distance(i, next) {
			s.hold(next)
			s.move(i, s.rows, next, t.ring)
			i = next
		}
	}
	s.heads[i].key.Store(0)
	s.used--
}

// expiry is when a record has nothing more to remember. The caller holds it.
func (t *table) expiry(s *shard, i int) int64 {
	h := &s.heads[i]
	switch {
	case t.ring == 0:
		return h.since
	case h.sum == 0:
		return 0
	}
	return (h.slot + int64(t.ring)) * s.kinds[s.policies[i]].width
}

// sweep removes expired records and gives back memory that is no longer needed.
func (t *table) sweep(now int64) {
	for n := range t.shards {
		s := &t.shards[n]
		s.mu.Lock()
		t.sweepShard(s, now)
		s.mu.Unlock()
	}
}

func (t *table) sweepShard(s *shard, now int64) {
	for i := 0; i < len(s.heads); {
		if s.heads[i].id() != 0 {
			s.hold(i)
			if t.expiry(s, i) <= now {
				t.remove(s, i) // another may have moved up
				continue
			}
			s.free(i)
		}
		i++
	}
	for _, k := range s.kinds {
		if k.carried != nil && k.carried.expired(k.width, t.ring, now) {
			k.carried = nil
		}
	}
	switch {
	case s.used == 0:
		s.publish(noRows)
	case len(s.heads) > 2*minPlaces && s.used*2*sparsest < len(s.heads):
		t.resize(s, max(s.used*sparsest, minPlaces))
	}
}

// size is the number of records.
func (t *table) size() int {
	total := 0
	for n := range t.shards {
		s := &t.shards[n]
		s.mu.Lock()
		total += s.used
		s.mu.Unlock()
	}
	return total
}

package ratelimit

import (
	"math/bits"
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

// table holds the records of a zone by open addressing with linear probing. The
// heads lie in the places themselves: a decision about a key that is in no cache
// waits for memory once, and a million keys cost the garbage collector nothing.
// It may be used by many goroutines.
type table struct {
	shards [shards]shard
	ring   int // length of a record's ring; zero under gcra

	evicted atomic.Uint64
	refused atomic.Uint64
}

func newTable(ring int) *table { return &table{ring: ring} }

// shard is one lock's share of a table.
type shard struct {
	mu   sync.Mutex
	used int
	hand int // where eviction looks next
	rows

	kinds map[uint32]*kind // by policy id

	_ [64]byte // keeps neighbours' locks off this cache line
}

// rows are places for records, as one slice for each part of them.
type rows struct {
	heads    []head
	policies []uint32 // ids
	rings    []uint32
}

func newRows(places, ring int) rows {
	return rows{make([]head, places), make([]uint32, places), make([]uint32, places*ring)}
}

// record is the view of a place. It holds until the next insertion or removal.
func (w *rows) record(i, ring int) record {
	o := i * ring
	return record{&w.heads[i], w.rings[o : o+ring : o+ring]}
}

// move copies the record of another place.
func (w *rows) move(to int, from *rows, i, ring int) {
	w.heads[to], w.policies[to] = from.heads[i], from.policies[i]
	copy(w.rings[to*ring:(to+1)*ring], from.rings[i*ring:])
}

// kind is what the records of one policy have in common.
type kind struct {
	width   int64
	carried *rows // see carry; nil as long as no record had to go
}

func (t *table) shard(k Key) *shard { return &t.shards[k.hi>>(64-shardBits)] }

// find returns the place of a key's record, or -1.
func (s *shard) find(k Key) int {
	if s.used == 0 {
		return -1
	}
	id := k.id()
	i := s.home(id)
	for {
		// Both are read before either is compared, so that the memory that holds
		// them is waited for once. Three of four keys are in the first place.
		next := s.after(i)
		first, second := s.heads[i].key, s.heads[next].key
		switch {
		case first == id:
			return i
		case first == 0:
			return -1
		case second == id:
			return next
		case second == 0:
			return -1
		}
		i = s.after(next)
	}
}

// home is where the search for a key begins.
func (w *rows) home(id uint64) int {
	hi, _ := bits.Mul64(id, uint64(len(w.heads)))
	return int(hi)
}

func (w *rows) after(i int) int {
	if i++; i == len(w.heads) {
		return 0
	}
	return i
}

// vacant is the first place from a key's home on that no record has.
func (w *rows) vacant(id uint64) int {
	i := w.home(id)
	for w.heads[i].key != 0 {
		i = w.after(i)
	}
	return i
}

// insert makes a record for a key that has none. With the shard full it takes
// the place of an expired record, or evicts another key's if the asker's bounds
// say so; else it returns false. Places that were found before may have moved.
func (t *table) insert(s *shard, a *ask, p *policy, now int64) bool {
	if room := a.bounds.perShard(); s.used >= room {
		if !t.makeRoom(s, a, now) {
			t.refused.Add(1)
			return false
		}
	} else if (s.used+1)*densest > len(s.heads) {
		t.resize(s, max(min((s.used+1)*sparsest, room*densest), minPlaces))
	}
	id := a.key.under(p).id()
	i := s.vacant(id)
	s.heads[i] = head{key: id, slot: now / p.width}
	s.policies[i] = p.id
	s.used++
	r := s.record(i, t.ring)
	clear(r.ring)
	switch k := s.kinds[p.id]; {
	case k == nil && s.kinds == nil:
		s.kinds = map[uint32]*kind{p.id: {width: p.width}}
	case k == nil:
		s.kinds[p.id] = &kind{width: p.width}
	case k.carried != nil:
		r.absorb(k.carried.shared(id, t.ring))
	}
	return true
}

// resize moves the records to as many places.
func (t *table) resize(s *shard, places int) {
	old := s.rows
	s.rows, s.hand = newRows(places, t.ring), 0
	for i := range old.heads {
		if id := old.heads[i].key; id != 0 {
			s.move(s.vacant(id), &old, i, t.ring)
		}
	}
}

// remove vacates a place and moves up those behind it, so that searches need no
// tombstones.
func (t *table) remove(s *shard, i int) {
	for next := s.after(i); s.heads[next].key != 0; next = s.after(next) {
		if s.distance(s.home(s.heads[next].key), next) >= s.distance(i, next) {
			s.move(i, &s.rows, next, t.ring)
			i = next
		}
	}
	s.heads[i] = head{}
	s.used--
}

func (w *rows) distance(from, to int) int {
	if from > to {
		return to + len(w.heads) - from
	}
	return to - from
}

// expiry is when a record has nothing more to remember.
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
		if s.heads[i].key != 0 && t.expiry(s, i) <= now {
			t.remove(s, i) // another may have moved up
			continue
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
		s.rows, s.hand = rows{}, 0
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

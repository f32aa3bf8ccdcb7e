package ratelimit

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// rows are places for records, found by open addressing with linear probing, as
// one slice for each part of them. The heads lie in the places themselves: a
// decision about a key that is in no cache waits for memory once, and a million
// keys cost the garbage collector nothing.
//
// Who works on a record's counts holds its place. Which keys have places, and
// where, changes only under the shard's lock, so whoever has that lock may read
// keys without holding anything.
type rows struct {
	heads    []head
	policies []uint32 // ids; guarded by the shard's lock
	rings    []uint32
}

// head is all that most decisions touch: half a cache line.
type head struct {
	// Key.id, with busy set while somebody holds the place; 0 if it is vacant.
	// The lock lies beside what it guards, since two cores that take turns at a
	// key pay for every line that they pass to each other.
	key atomic.Uint64
	counts
}

// busy is the bit of head.key that no id has.
const busy = 1

func newRows(places, ring int) *rows {
	return &rows{make([]head, places), make([]uint32, places), make([]uint32, places*ring)}
}

// noRows is the beginning of every shard.
var noRows = new(rows)

// id is whose record the place has, or 0.
func (h *head) id() uint64 { return h.key.Load() &^ busy }

// prefetch begins to fetch the place where a record probably is, for whoever will
// seize it soon. On two cores it takes longer than all else in a decision to get
// a cache line that the other one wrote last.
func (w *rows) prefetch(id uint64) {
	if len(w.heads) > 0 {
		prefetchForWrite(unsafe.Pointer(&w.heads[w.home(id)]))
	}
}

// seizeWithin is how many places seize looks at. Three of four keys are in the
// first, and nearly all in these.
const seizeWithin = 4

// seize finds and holds the place of a record without the shard's lock. It does
// not wait: if another holds the place, the shard's lock is the queue. Its first
// access to a place is a write, because reading first would pass the line twice.
func (w *rows) seize(id uint64) (place int, ok bool) {
	if len(w.heads) == 0 {
		return 0, false
	}
	i := w.home(id)
	for range seizeWithin {
		key := &w.heads[i].key
		if key.CompareAndSwap(id, id|busy) {
			return i, true
		}
		if there := key.Load(); there == 0 || there == id|busy {
			return 0, false
		}
		i = w.after(i)
	}
	return 0, false
}

// hold waits for a place that is not vacant. The caller has the shard's lock, so
// that nobody else waits, and what it waits for is one decision in memory.
func (w *rows) hold(i int) {
	key := &w.heads[i].key
	for id, tries := w.heads[i].id(), 0; !key.CompareAndSwap(id, id|busy); tries++ {
		if tries >= 64 { // the holder does not run at the moment
			runtime.Gosched()
		}
	}
}

// free ends seize or hold.
func (w *rows) free(i int) { w.heads[i].key.Store(w.heads[i].id()) }

// record is the view of a place that the caller holds.
func (w *rows) record(i, ring int) record {
	o := i * ring
	return record{&w.heads[i].counts, w.rings[o : o+ring : o+ring]}
}

// move copies the record of a place that the caller holds to a vacant one. The
// old place remains held, so that who finds it there must ask again.
func (w *rows) move(to int, from *rows, i, ring int) {
	w.heads[to].counts, w.policies[to] = from.heads[i].counts, from.policies[i]
	copy(w.rings[to*ring:(to+1)*ring], from.rings[i*ring:])
	w.heads[to].key.Store(from.heads[i].id()) // from here on it may be seized
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
	for w.heads[i].id() != 0 {
		i = w.after(i)
	}
	return i
}

func (w *rows) distance(from, to int) int {
	if from > to {
		return to + len(w.heads) - from
	}
	return to - from
}

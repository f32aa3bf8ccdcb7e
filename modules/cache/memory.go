package cache

import (
	"time"

	"github.com/maypok86/otter/v2"
)

// memory is the first level: entries in this process, bounded by their weight
// in bytes. It is safe for concurrent use.
type memory struct {
	otter *otter.Cache[hash, *Entry]
}

func newMemory(maxBytes uint64) *memory {
	return &memory{otter: otter.Must(&otter.Options[hash, *Entry]{
		MaximumWeight: maxBytes,
		Weigher:       func(_ hash, e *Entry) uint32 { return e.weight() },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(n otter.Entry[hash, *Entry]) time.Duration {
			return max(time.Until(time.UnixMilli(n.Value.keep)), time.Millisecond)
		}),
		OnAtomicDeletion: func(d otter.DeletionEvent[hash, *Entry]) {
			if d.WasEvicted() {
				evictions.Inc()
			}
		},
	})}
}

// get returns what is kept under a key, or nil.
func (m *memory) get(at hash, key []byte) *Entry {
	e, ok := m.otter.GetIfPresent(at)
	if !ok || e.key != string(key) {
		return nil
	}
	return e
}

// put stores a response that does not vary, or an abandon marker.
func (m *memory) put(at hash, e *Entry) { m.otter.Set(at, e) }

// putVariant stores one of several responses of a URL and lists it in the index
// under the primary key.
func (m *memory) putVariant(p *place, e *Entry, limit int) {
	var gone []hash
	m.otter.Set(p.variant, e)
	m.putIndex(p.primary, string(p.key), e.keep, func(x *index) (next *index) {
		next, gone = x.withVariant(p.spec, p.variant, limit)
		return next
	})
	for _, v := range gone {
		m.otter.Invalidate(v)
	}
}

// putSearch notes that responses of a path have a No-Vary-Search.
func (m *memory) putSearch(group []byte, search *variance, keep int64) {
	at := hashOf(group)
	if e := m.get(at, group); e != nil && e.index() != nil && e.keep >= keep && e.index().searches[0].id == search.id {
		return // as known
	}
	m.putIndex(at, string(group), keep, func(x *index) *index { return x.withSearch(search) })
}

// putIndex replaces the index under a key by its successor. It stays as long as
// the longest-lived of what it lists.
func (m *memory) putIndex(at hash, key string, keep int64, successor func(*index) *index) {
	m.otter.Compute(at, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
		x, until := new(index), keep
		if found && old.key == key && old.index() != nil {
			x, until = old.index(), max(keep, old.keep)
		}
		e := &Entry{key: key, keep: until}
		e.alter(func(r *rare) { r.index = successor(x) })
		return e, otter.WriteOp
	})
}

func (m *memory) remove(at hash) { m.otter.Invalidate(at) }

// resize sets the bound in bytes.
func (m *memory) resize(maxBytes uint64) {
	if m.otter.GetMaximum() != maxBytes {
		m.otter.SetMaximum(maxBytes)
	}
}

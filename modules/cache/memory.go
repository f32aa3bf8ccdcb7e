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
func (m *memory) putVariant(primary hash, key string, spec []string, at hash, e *Entry, limit int) {
	var gone []hash
	m.otter.Set(at, e)
	m.otter.Compute(primary, func(old *Entry, found bool) (*Entry, otter.ComputeOp) {
		keep := e.keep
		var x *index
		if found && old.key == key && old.index != nil {
			x, keep = old.index, max(keep, old.keep)
		}
		x, gone = x.with(spec, at, limit)
		return &Entry{key: key, uri: e.uri, index: x, keep: keep}, otter.WriteOp
	})
	for _, v := range gone {
		m.otter.Invalidate(v)
	}
}

func (m *memory) remove(at hash) { m.otter.Invalidate(at) }

// resize sets the bound in bytes.
func (m *memory) resize(maxBytes uint64) {
	if m.otter.GetMaximum() != maxBytes {
		m.otter.SetMaximum(maxBytes)
	}
}

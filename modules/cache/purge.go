package cache

import (
	"strings"
	"sync"
	"sync/atomic"
)

// What a purge can name.
const (
	kindURL    = 'u'
	kindPath   = 'q' // what of a path answers requests with other queries; follows from kindURL
	kindTag    = 't'
	kindPrefix = 'p'
	kindAll    = 'a'
)

// Purge is an instruction to forget: everything, one URL, one tag, or all URLs
// with a prefix. A soft purge only makes them stale.
type Purge struct {
	Kind   byte   `json:"k"`
	Target string `json:"t,omitempty"`
	Soft   bool   `json:"s,omitempty"`
}

// purgeSlots is how many counters stand for all URLs and tags; a power of two.
// Two that share a counter are purged together, which costs a fetch, no more.
const purgeSlots = 1 << 17

// maxPrefixes bounds the list of purged prefixes; when it is full, its oldest
// half becomes a purge of everything before it.
const maxPrefixes = 1024

// Purges remembers purges as numbers: an entry is gone if a purge of what it is
// has a higher number than the entry, which has the number of the last purge
// when the origin was asked. So a purge costs the same however many entries it
// hits, and hits fills that are under way. It is safe for concurrent use.
type Purges struct {
	seq        atomic.Uint64
	hard, soft marks
	mu         sync.Mutex
}

type marks struct {
	all      atomic.Uint64
	slots    []atomic.Uint64
	prefixes atomic.Pointer[[]prefixMark]
}

type prefixMark struct {
	prefix string
	seq    uint64
}

func newPurges() *Purges {
	return &Purges{
		hard: marks{slots: make([]atomic.Uint64, purgeSlots)},
		soft: marks{slots: make([]atomic.Uint64, purgeSlots)},
	}
}

// Seq returns the number of the last purge.
func (p *Purges) Seq() uint64 { return p.seq.Load() }

// Apply carries out a purge.
func (p *Purges) Apply(what Purge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apply(what)
}

// Supersede carries out the purges that come of a request whose response is the
// entry: they hit what was stored before, not the entry. It reports false if
// another purge has hit the entry since the origin was asked.
func (p *Purges) Supersede(e *Entry, list []Purge) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone, soft := p.State(e)
	for _, what := range list {
		p.apply(what)
	}
	e.seq = p.seq.Load()
	return !gone && !soft
}

// apply is Apply for who holds mu.
func (p *Purges) apply(what Purge) {
	m := &p.hard
	if what.Soft {
		m = &p.soft
	}
	seq := p.seq.Load() + 1
	switch what.Kind {
	case kindAll:
		m.all.Store(seq)
	case kindPrefix:
		m.addPrefix(prefixMark{what.Target, seq})
	case kindURL:
		m.slots[hashTarget(kindURL, what.Target)%purgeSlots].Store(seq)
		m.slots[hashTarget(kindPath, pathOf(what.Target))%purgeSlots].Store(seq)
	default:
		m.slots[hashTarget(what.Kind, what.Target)%purgeSlots].Store(seq)
	}
	p.seq.Store(seq) // last: who sees the number sees the mark
}

// pathOf is a URI without its query: a purge of the URI also concerns what
// answers requests for this path with other queries. So it hits more than it
// need, which costs a fetch.
func pathOf(uri string) string {
	path, _, _ := strings.Cut(uri, "?")
	return path
}

func (m *marks) addPrefix(mark prefixMark) {
	var list []prefixMark
	if old := m.prefixes.Load(); old != nil {
		list = *old
	}
	if len(list) >= maxPrefixes {
		half := len(list) / 2
		m.all.Store(list[half-1].seq)
		list = list[half:]
	}
	next := make([]prefixMark, 0, len(list)+1)
	next = append(append(next, list...), mark)
	m.prefixes.Store(&next)
}

// State tells whether an entry was purged since the origin was asked for it.
func (p *Purges) State(e *Entry) (gone, soft bool) {
	if p.seq.Load() == e.seq {
		return false, false
	}
	return p.hard.hit(e), p.soft.hit(e)
}

func (m *marks) hit(e *Entry) bool {
	if m.all.Load() > e.seq || m.slots[e.uriHash%purgeSlots].Load() > e.seq {
		return true
	}
	for _, tag := range e.tags() {
		if m.slots[tag%purgeSlots].Load() > e.seq {
			return true
		}
	}
	list := m.prefixes.Load()
	if list == nil {
		return false
	}
	for _, mark := range *list {
		if mark.seq > e.seq && mark.names(e) {
			return true
		}
	}
	return false
}

// names tells whether the URI of an entry, or one of those that it answers for,
// has the prefix.
func (p prefixMark) names(e *Entry) bool {
	uri := e.uri()
	return strings.HasPrefix(uri, p.prefix) || e.has(flagSearch) && strings.HasPrefix(p.prefix, uri)
}

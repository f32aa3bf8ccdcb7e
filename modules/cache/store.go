package cache

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// storePool keeps the contents of caches over reloads, by name.
var storePool = caddy.NewUsagePool()

// Store is a cache's contents and what is under way: it outlives configs. It is
// safe for concurrent use.
type Store struct {
	memory  *memory
	purges  *Purges
	flights flights
}

func openStore(name string, maxBytes uint64) (*Store, error) {
	v, _, err := storePool.LoadOrNew(name, func() (caddy.Destructor, error) {
		return newStore(maxBytes), nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Store), nil
}

func newStore(maxBytes uint64) *Store {
	return &Store{memory: newMemory(maxBytes), purges: newPurges()}
}

// Destruct ends the cache's maintenance. The UsagePool calls it.
func (s *Store) Destruct() error {
	s.memory.otter.StopAllGoroutines()
	return nil
}

// place is where a request's response is or would be kept.
type place struct {
	primary hash
	key     []byte // primary key
	from    int    // of the URI in key
	to      int

	// spec is the Vary list by which entry was found, variant its place, full
	// its key. Without Vary they are the primary ones.
	spec    []string
	variant hash
	full    []byte

	// varies: other variants are stored, but none that matches.
	varies bool
}

// uri returns a copy of the URI within the key.
func (p *place) uri() string { return string(p.key[p.from:p.to]) }

// find looks for a request's response in memory.
func (s *Store) find(p *place, h map[string][]string) *Entry {
	e := s.memory.get(p.primary, p.key)
	p.variant, p.full = p.primary, p.key
	if e == nil || e.index == nil {
		return e
	}
	for _, spec := range e.index.specs {
		full := appendVariant(slices.Clip(p.key), spec, h)
		at := hashOf(full)
		if v := s.memory.get(at, full); v != nil {
			p.spec, p.variant, p.full = spec, at, full
			return v
		}
	}
	// a miss is filled under the most recent list
	p.spec = e.index.specs[0]
	p.full = appendVariant(slices.Clip(p.key), p.spec, h)
	p.variant = hashOf(p.full)
	p.varies = true
	return nil
}

// settle fixes where a response is kept once its Vary list is known.
func (p *place) settle(vary []string, h map[string][]string) {
	if slices.Equal(p.spec, vary) && (len(vary) > 0 || p.variant == p.primary) {
		return
	}
	p.spec = vary
	if len(vary) == 0 {
		p.variant, p.full = p.primary, p.key
		return
	}
	p.full = appendVariant(slices.Clip(p.key), vary, h)
	p.variant = hashOf(p.full)
}

// put stores an entry at a settled place.
func (s *Store) put(p *place, e *Entry, limit int) {
	if len(p.spec) == 0 {
		s.memory.put(p.primary, e)
		return
	}
	s.memory.putVariant(p.primary, string(p.key), p.spec, p.variant, e, limit)
}

// label gives an entry its key and what purges know it by.
func label(e *Entry, p *place, tags []string) {
	e.key = string(p.full)
	e.uri = e.key[p.from:p.to]
	e.uriHash = hashTarget(kindURL, e.uri)
	host, _, _ := strings.Cut(e.uri, "/")
	e.tags = make([]uint64, 0, 2*len(tags))
	for _, t := range tags {
		e.tags = append(e.tags, hashTarget(kindTag, tagTarget(host, t)), hashTarget(kindTag, tagTarget("", t)))
	}
}

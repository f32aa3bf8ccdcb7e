package cache

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// place is where a request's response is or would be kept.
type place struct {
	// url is the primary key of the URL as it was asked for; its host, path and
	// query lie between from and to.
	url      []byte
	from, to int

	// search is the No-Vary-Search by which the response was found, or nil. key
	// is the primary key under it, its host and path, and without search the
	// query, lie between from and end; primary is its place in memory.
	search  *variance
	key     []byte
	end     int
	primary hash

	// spec is the Vary list by which the response was found, full its key and
	// variant its place in memory. Without Vary they are the primary ones.
	spec    []string
	full    []byte
	variant hash

	// varies: other variants are stored, but none that matches.
	varies bool
}

func newPlace(url []byte, from, to int) place {
	p := place{url: url, from: from, to: to}
	p.under(nil)
	return p
}

// uri is host, path and query as they were asked for, in a copy.
func (p *place) uri() string { return string(p.url[p.from:p.to]) }

// pathEnd is where the path ends in url.
func (p *place) pathEnd() int {
	if i := bytes.IndexByte(p.url[p.from:p.to], '?'); i >= 0 {
		return p.from + i
	}
	return p.to
}

// purgedAs returns what purges of a response at this place go by.
func (p *place) purgedAs() (kind byte, target string) {
	if p.search != nil {
		return kindPath, string(p.key[p.from:p.end])
	}
	return kindURL, string(p.key[p.from:p.end])
}

// group is the key under which it is known which values of No-Vary-Search the
// responses of this path have.
func (p *place) group() []byte {
	return p.without('g', nil)
}

// without is the key without its query, but with a part in its stead.
func (p *place) without(kind byte, part []byte) []byte {
	end := p.pathEnd()
	key := make([]byte, 0, len(p.url)+len(part)+16)
	key = append(key, p.url[:end]...)
	key = append(key, p.url[p.to:]...)
	return appendPart(key, kind, string(part))
}

// under moves the place to where responses with a No-Vary-Search are kept.
func (p *place) under(search *variance) {
	p.search, p.key, p.end = search, p.url, p.to
	if search != nil {
		p.end = p.pathEnd()
		query := string(p.url[p.end:p.to])
		id := append([]byte(search.id), '\n')
		p.key = p.without('s', search.appendQuery(id, strings.TrimPrefix(query, "?")))
	}
	p.primary = hashOf(p.key)
	p.spec, p.full, p.variant, p.varies = nil, p.key, p.primary, false
}

// among moves the place to that of one variant.
func (p *place) among(spec []string, h http.Header) {
	p.spec = spec
	if len(spec) == 0 {
		p.full, p.variant = p.key, p.primary
		return
	}
	p.full = appendVariant(slices.Clip(p.key), spec, h)
	p.variant = hashOf(p.full)
}

// selection is what a response says of the requests that it answers.
type selection struct {
	search *variance
	vary   []string
}

// settle moves the place to where a response is kept, once it is known what the
// response says of the requests that it answers.
func (p *place) settle(s selection, h http.Header) {
	if p.search != s.search && (p.search == nil || s.search == nil || p.search.id != s.search.id) {
		p.under(s.search)
	}
	if !slices.Equal(p.spec, s.vary) {
		p.among(s.vary, h)
	}
}

// find looks for a request's response in memory and moves the place to it.
func (s *Store) find(p *place, h http.Header) *Entry {
	e := s.findVariant(p, h)
	if !s.searches.Load() {
		return e
	}
	group := p.group()
	known := s.memory.get(hashOf(group), group)
	if known == nil || known.index() == nil {
		return e
	}
	for i, search := range known.index().searches {
		q := *p
		q.under(search)
		found := s.findVariant(&q, h)
		switch {
		case found != nil && (e == nil || found.born > e.born):
			e, *p = found, q // RFC 9111, 4: the most recent
		case e == nil && i == 0:
			*p = q // a miss is filled under the most recent field
		}
	}
	return e
}

// findVariant looks under the primary key and, through the index there, for the
// variant that matches.
func (s *Store) findVariant(p *place, h http.Header) *Entry {
	e := s.memory.get(p.primary, p.key)
	if e == nil || e.index() == nil {
		return e
	}
	for _, spec := range e.index().specs {
		q := *p
		q.among(spec, h)
		if v := s.memory.get(q.variant, q.full); v != nil {
			*p = q
			return v
		}
	}
	// a miss is filled under the most recent list
	p.among(e.index().specs[0], h)
	p.varies = true
	return nil
}

// put stores an entry at a settled place.
func (s *Store) put(p *place, e *Entry, limit int) {
	if p.search != nil {
		s.memory.putSearch(p.group(), p.search, e.keep)
		s.searches.Store(true)
	}
	if len(p.spec) == 0 {
		s.memory.put(p.primary, e)
		return
	}
	s.memory.putVariant(p, e, limit)
}

// label gives an entry its key and what purges know it by.
func label(e *Entry, p *place, tags []string) {
	e.key = string(p.full)
	e.from, e.to = uint32(p.from), uint32(p.end)
	kind, target := p.purgedAs()
	e.uriHash = hashTarget(kind, target)
	if p.search != nil {
		e.flags |= flagSearch
	}
	if len(tags) == 0 {
		return
	}
	host, _, _ := strings.Cut(e.uri(), "/")
	hashes := make([]uint64, 0, 2*len(tags))
	for _, t := range tags {
		hashes = append(hashes, hashTarget(kindTag, tagTarget(host, t)), hashTarget(kindTag, tagTarget("", t)))
	}
	e.alter(func(r *rare) { r.tags = hashes })
}

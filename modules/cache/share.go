package cache

import (
	"net/http"
	"time"
)

// admit makes the entry, if the response may be stored.
func (f *fill) admit() {
	x := f.x
	if x.r.Method == http.MethodHead {
		return
	}
	e, vary := f.judge()
	if e == nil || f.onHead != nil && (!e.has(flagExplicit) || e.expires <= e.born) {
		fillsUncacheable.Inc()
		return
	}
	if f.flight == nil {
		f.flight = new(flight)
	}
	f.entry = e
	f.name(e, f.header, vary)
}

// name gives an entry its key, by what its header says of the requests that it
// answers, and its tags.
func (f *fill) name(e *Entry, h http.Header, vary []string) {
	x := f.x
	s := selection{search: parseVariance(h["No-Vary-Search"]), vary: vary}
	x.p.settle(s, x.r.Header)
	f.tags = tagsOf(h, x.h.TagsHeader)
	label(e, &x.p, f.tags)
	e.seq = f.seq
	if f.flight != nil {
		f.flight.selects = s
	}
}

// judge asks the rules whether the response may be stored. Of a partial response
// they judge the whole.
func (f *fill) judge() (*Entry, []string) {
	rules := &f.x.h.rules
	if f.res.Status != http.StatusPartialContent {
		return rules.Admit(&f.x.q, &f.res)
	}
	whole, s, total, ok := partial(&f.res)
	if !ok {
		return nil, nil
	}
	e, vary := rules.Admit(&f.x.q, &whole)
	if e != nil {
		e.flags |= flagPartial
		e.alter(func(r *rare) { r.offset, r.total = s.start, total })
	}
	return e, vary
}

// share tells those who wait what came.
func (f *fill) share() {
	if f.flight == nil {
		return
	}
	if f.entry == nil {
		f.unlock()
		f.abandon()
		f.x.h.store.flights.end(f.flight)
	} else if n := contentLength(f.header); n > 0 {
		f.flight.grow(int(n))
	}
	f.flight.announce(f.entry)
}

// abandon remembers for a while that requests for this had better not wait for
// each other, if any did in vain. It never takes the place of a response.
func (f *fill) abandon() {
	x := f.x
	if f.stored != nil || !f.flight.watched() {
		return
	}
	until := time.Now().Add(time.Duration(x.h.HitForMiss)).UnixMilli()
	x.h.store.memory.put(x.p.variant, &Entry{key: string(x.p.full), flags: flagAbandon, keep: until})
}

package cache

import (
	"net/http"
	"strings"
	"time"
)

// freshen updates the stored response with a 304 and answers with it. RFC 9111,
// 4.3.4.
func (f *fill) freshen() error {
	x := f.x
	x.now = time.Now().UnixMilli()
	if !selects(f.header, f.stored) {
		// the origin speaks of a response that is not the one we have
		f.drop()
		f.handOver()
		return x.forward(nil, Verdict{Action: Fetch, Why: WhyStale}, nil)
	}
	status := []string{x.h.name + "; hit; fwd=" + f.verdict.Why.String() + "; fwd-status=304"}
	e := f.updated()
	if e == nil { // what the 304 says forbids to keep it
		f.drop()
		if f.w != nil {
			x.answer(f.stored, status, outRevalidated)
		}
		return nil
	}
	f.keepEntry(e)
	if f.flight != nil {
		f.flight.add(e.body, 0)
		f.flight.announce(e)
		f.flight.finish(landed)
		x.h.store.flights.end(f.flight)
	}
	if f.w != nil {
		status[0] += "; stored"
		x.answer(e, status, outRevalidated)
	}
	return nil
}

// learn updates the stored response with a 200 response to HEAD. RFC 9111,
// 4.3.5: if that is about another representation, what is stored is stale.
func (f *fill) learn() {
	if f.x.r.Method != http.MethodHead || f.res.Status != http.StatusOK || f.stored == nil || f.stored.status != http.StatusOK {
		return
	}
	if !f.describes() {
		f.outdate()
	} else if e := f.updated(); e != nil {
		f.keepEntry(e)
	} else {
		f.drop()
	}
}

// describes tells whether the response to HEAD is about the stored response: no
// validator and no length that it gives is another.
func (f *fill) describes() bool {
	lm := first(f.header["Last-Modified"])
	if lm != "" && lm != f.stored.get("Last-Modified") {
		return false
	}
	if etag := first(f.header["Etag"]); etag != "" && opaque(etag) != opaque(f.stored.etag()) && !suffixed(f.stored.etag(), etag) {
		return false
	}
	if f.header["Content-Encoding"] == nil && f.stored.get("Content-Encoding") != "" {
		return true // `encode` leaves HEAD alone: the lengths are not of the same bytes
	}
	_, size := f.stored.extent()
	n := contentLength(f.header)
	return n < 0 || n == size
}

// outdate makes the stored response stale.
func (f *fill) outdate() {
	e := f.stored.withBody(f.stored.body)
	e.expire(f.x.now)
	e.swr = 0 // what it was refreshed from is known to be another
	if f.x.h.store.memory.get(f.x.p.variant, f.x.p.full) == f.stored {
		f.x.h.store.put(&f.x.p, e, f.x.h.VaryLimit)
	}
}

// drop forgets the stored response.
func (f *fill) drop() {
	f.lose()
	f.x.h.store.memory.remove(f.x.p.variant)
}

// selects tells whether a 304 is about the stored response: a strong validator
// of another response would not be. `encode` takes its suffix off the entity
// tag on the way to the origin, so the 304 may carry the tag without it.
func selects(h http.Header, e *Entry) bool {
	etag := first(h["Etag"])
	if etag == "" || !strong(etag) || !strong(e.etag()) {
		return true
	}
	return etag == e.etag() || suffixed(e.etag(), etag)
}

// suffixed tells whether a stored entity tag is that of a compressed form of
// what the origin calls etag.
func suffixed(stored, etag string) bool {
	return strings.HasSuffix(etag, `"`) && strings.HasPrefix(stored, etag[:len(etag)-1]+"-")
}

// updated is the stored response with the header of a 304 or of a response to
// HEAD. RFC 9111, 3.2: fields that describe the stored bytes stay.
func (f *fill) updated() *Entry {
	h := f.stored.header()
	if own := f.stored.own(); own != "" {
		h[ownField] = []string{own}
	}
	for name, values := range f.header {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Range", "Content-Md5", "Etag", "Server":
			continue
		}
		h[name] = values
	}
	if len(f.header["Date"]) == 0 {
		h["Date"] = []string{time.UnixMilli(f.res.Answered).UTC().Format(http.TimeFormat)}
	}
	res := f.res
	res.Status, res.Header = int(f.stored.status), h
	e, vary := f.x.h.rules.Admit(&f.x.q, &res)
	if e == nil {
		return nil
	}
	f.name(e, h, vary)
	e.body = f.stored.body
	return e
}

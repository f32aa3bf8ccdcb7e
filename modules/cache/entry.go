package cache

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
)

// Facts about an entry that are settled when it is made.
const (
	// flagValidate: never to be used without asking the origin (no-cache).
	flagValidate uint16 = 1 << iota

	// flagNoStale: never to be used stale (must-revalidate,
	// proxy-revalidate). RFC 9111, 4.2.4.
	flagNoStale

	// flagStrict: to be used stale only as the response itself says
	// (s-maxage).
	flagStrict

	// flagShared: may answer requests that carry credentials. RFC 9111, 3.5.
	flagShared

	// flagExplicit: its freshness is the origin's own word, no guess of ours.
	flagExplicit

	// flagPartial: the body is the part from offset on, of total bytes.
	flagPartial

	// flagAbandon: a marker without a response: what is under this key cannot
	// be shared, so nobody shall wait for another's answer.
	flagAbandon

	// flagSearch: it answers requests with other queries too (No-Vary-Search).
	flagSearch
)

// Entry is a stored response, or the index of what else is kept for one URL. It
// is immutable once it is in the cache and may be read by any goroutine.
type Entry struct {
	// key is everything that tells this response from others, in full. Within
	// it, from and to enclose host, path and query, as a purge names them.
	key      string
	from, to uint32

	// head is the stored header section, one "Name: value\r\n" per line; ends
	// is where in it the value of each line ends.
	head  string
	shape *shape
	ends  []uint32

	body []byte

	// Unix milliseconds. born is when the response would have had age 0;
	// expires is when it stops being fresh; keep is when it is no use even
	// stale or for validation. swr, sie and lost end the windows in which it
	// may be used stale: while it is refreshed, after an error, and while the
	// origin cannot be reached. 0: there is no such window.
	born, expires, swr, sie, lost, keep int64

	uriHash uint64

	// seq is the number of the last purge when the origin was asked.
	seq uint64

	// rare is nil for most entries.
	rare *rare

	rendered atomic.Pointer[rendered]

	status uint16
	flags  uint16
}

// rare is what most entries do without. It is shared by copies of an entry, and
// so never altered once the first is made.
type rare struct {
	// own is Fairway-Cache-Control as it came: it is not sent, but a 304 that
	// does not repeat it must not undo it.
	own string

	// offset and total place a partial body within the whole.
	offset, total int64

	tags  []uint64
	index *index
}

// alter gives a new entry a rare part of its own, with a change.
func (e *Entry) alter(change func(r *rare)) {
	r := new(rare)
	if e.rare != nil {
		*r = *e.rare
	}
	change(r)
	e.rare = r
}

func (e *Entry) has(flag uint16) bool { return e.flags&flag != 0 }

// uri is host, path and query, as a purge names them. Of an entry that answers
// requests with other queries too it is host and path.
func (e *Entry) uri() string { return e.key[e.from:e.to] }

func (e *Entry) own() string {
	if e.rare == nil {
		return ""
	}
	return e.rare.own
}

func (e *Entry) tags() []uint64 {
	if e.rare == nil {
		return nil
	}
	return e.rare.tags
}

func (e *Entry) index() *index {
	if e.rare == nil {
		return nil
	}
	return e.rare.index
}

// extent is the part of the whole representation that the entry has.
func (e *Entry) extent() (part span, total int64) {
	part = span{0, int64(len(e.body))}
	if !e.has(flagPartial) {
		return part, part.length
	}
	part.start = e.rare.offset
	return part, e.rare.total
}

// weight is what the entry costs in memory, in bytes.
func (e *Entry) weight() uint32 {
	n := entryOverhead + len(e.key) + len(e.head) + cap(e.body) + 4*len(e.ends)
	if r := e.rare; r != nil {
		n += rareOverhead + 8*len(r.tags) + len(r.own)
		if r.index != nil {
			n += r.index.weight()
		}
	}
	return uint32(min(n, 1<<32-1))
}

// What an entry and its node in the cache cost beside their variable parts, and
// the rare part, in bytes.
const (
	entryOverhead = 320
	rareOverhead  = 80
)

func (e *Entry) etag() string { return e.get("Etag") }

// modified returns Last-Modified in Unix seconds, or Date in its place.
// RFC 9111, 4.3.2.
func (e *Entry) modified() (int64, bool) {
	if lm := e.get("Last-Modified"); lm != "" {
		return ParseDate(lm, e.born/1000)
	}
	return ParseDate(e.get("Date"), e.born/1000)
}

// age is the current age in milliseconds. RFC 9111, 4.2.3.
func (e *Entry) age(now int64) int64 { return max(0, now-e.born) }

// expire makes an entry that nobody has yet stale from now on. The windows in
// which it may be used stale keep their lengths.
func (e *Entry) expire(now int64) {
	early := e.expires - now
	if early <= 0 {
		return
	}
	e.expires = now
	for _, end := range [...]*int64{&e.swr, &e.sie, &e.lost} {
		if *end != 0 {
			*end -= early
		}
	}
}

// withBody returns the entry with its body, and with a Content-Length if the
// origin sent none.
func (e *Entry) withBody(body []byte) *Entry {
	c := &Entry{
		key: e.key, from: e.from, to: e.to, head: e.head, shape: e.shape, ends: e.ends, rare: e.rare,
		born: e.born, expires: e.expires, swr: e.swr, sie: e.sie, lost: e.lost, keep: e.keep,
		uriHash: e.uriHash, seq: e.seq, status: e.status, flags: e.flags,
	}
	c.setBody(body)
	return c
}

// setBody gives an entry that nobody else has its body, and a Content-Length if
// the origin sent none.
func (e *Entry) setBody(body []byte) {
	if cap(body)-len(body) > len(body)/8+64 {
		body = slices.Clone(body)
	}
	e.body = body
	if !e.has(flagPartial) && e.get("Content-Length") == "" && e.status != http.StatusNoContent {
		h := e.header()
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
		e.setHeader(h, func(string) bool { return false })
	}
}

// rendered holds the fields of a response from the cache that change only once
// a second.
type rendered struct {
	second int64 // of age
	age    []string
	status []string
}

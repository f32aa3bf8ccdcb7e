package cache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
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
)

// Entry is a stored response, or the index of the variants of one URL. It is
// immutable once it is in the cache and may be read by any goroutine.
type Entry struct {
	// key is everything that tells this response from others, in full.
	key string

	// uri is host, path and query, as a purge names it; part of key.
	uri string

	// head is the stored header section, one "Name: value\r\n" per line. The
	// fields of values point into it.
	head   string
	shape  *shape
	values []string

	body []byte

	// Unix milliseconds. born is when the response would have had age 0;
	// expires is when it stops being fresh; keep is when it is no use even
	// stale or for validation. swr, sie and lost end the windows in which it
	// may be used stale: while it is refreshed, after an error, and while the
	// origin cannot be reached.
	born, expires, swr, sie, lost, keep int64

	// offset and total place a partial body within the whole.
	offset, total int64

	// own is Fairway-Cache-Control as it came: it is not sent, but a 304 that
	// does not repeat it must not undo it.
	own string

	uriHash uint64
	tags    []uint64

	// seq is the number of the last purge when the origin was asked.
	seq uint64

	index *index

	rendered atomic.Pointer[rendered]

	status uint16
	flags  uint16
}

func (e *Entry) has(flag uint16) bool { return e.flags&flag != 0 }

// weight is what the entry costs in memory, in bytes.
func (e *Entry) weight() uint32 {
	n := entryOverhead + len(e.key) + len(e.head) + cap(e.body) + 16*len(e.values) + 8*len(e.tags)
	if e.index != nil {
		n += e.index.weight()
	}
	return uint32(min(n, 1<<32-1))
}

// entryOverhead is what an entry and its node in the cache cost beside their
// variable parts, in bytes.
const entryOverhead = 400

// get returns the first value of a stored field.
func (e *Entry) get(name string) string {
	if v := e.lines(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// lines returns the values of a stored field.
func (e *Entry) lines(name string) []string {
	if e.shape == nil {
		return nil
	}
	for i, n := range e.shape.names {
		if n == name {
			from, to := e.shape.span(i)
			return e.values[from:to:to]
		}
	}
	return nil
}

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

// header returns the stored fields as a map of its own.
func (e *Entry) header() http.Header {
	h := make(http.Header, len(e.shape.names))
	for i, name := range e.shape.names {
		from, to := e.shape.span(i)
		h[name] = slices.Clone(e.values[from:to])
	}
	return h
}

// setHeader fills the entry with the fields that may be stored.
func (e *Entry) setHeader(h http.Header, omit func(name string) bool) {
	names := make([]string, 0, len(h))
	size := 0
	for name, lines := range h {
		if len(lines) == 0 || omit(name) {
			continue
		}
		names = append(names, name)
		for _, v := range lines {
			size += len(name) + len(v) + 4
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.Grow(size)
	ends := make([]uint16, len(names))
	n := 0
	for i, name := range names {
		for _, v := range h[name] {
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(v)
			b.WriteString("\r\n")
		}
		n += len(h[name])
		ends[i] = uint16(min(n, 1<<16-1))
	}
	e.head = b.String()
	e.shape = internShape(names, ends)
	e.values = sliceValues(e.head, n)
}

// sliceValues returns the values of the lines of a serialized head, without
// copying them.
func sliceValues(head string, n int) []string {
	values := make([]string, 0, n)
	for head != "" {
		line, rest, _ := strings.Cut(head, "\r\n")
		_, value, _ := strings.Cut(line, ": ")
		values = append(values, value)
		head = rest
	}
	return values
}

// withBody returns the entry with its body, and with a Content-Length if the
// origin sent none.
func (e *Entry) withBody(body []byte) *Entry {
	c := &Entry{
		key: e.key, uri: e.uri, head: e.head, shape: e.shape, values: e.values, own: e.own,
		born: e.born, expires: e.expires, swr: e.swr, sie: e.sie, lost: e.lost, keep: e.keep,
		offset: e.offset, total: e.total, uriHash: e.uriHash, tags: e.tags, seq: e.seq,
		status: e.status, flags: e.flags,
	}
	if cap(body)-len(body) > len(body)/8+64 {
		body = slices.Clone(body)
	}
	c.body = body
	if e.get("Content-Length") == "" && e.status != http.StatusNoContent {
		h := e.header()
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
		c.setHeader(h, func(string) bool { return false })
	}
	return c
}

// shape is the list of the field names of a stored head. Responses of one
// origin mostly share it.
type shape struct {
	names []string
	ends  []uint16 // of the values of each name
}

func (s *shape) span(i int) (from, to int) {
	if i > 0 {
		from = int(s.ends[i-1])
	}
	return from, int(s.ends[i])
}

// maxShapes bounds how many shapes are shared, against an origin that invents
// field names.
const maxShapes = 4096

var shapes struct {
	sync.Mutex
	known map[string]*shape
}

func internShape(names []string, ends []uint16) *shape {
	var id []byte
	for i, n := range names {
		id = append(id, n...)
		id = append(id, ':')
		id = strconv.AppendUint(id, uint64(ends[i]), 10)
		id = append(id, ' ')
	}
	shapes.Lock()
	defer shapes.Unlock()
	if s, ok := shapes.known[string(id)]; ok {
		return s
	}
	s := &shape{names: names, ends: ends}
	for i := range names {
		s.names[i] = strings.Clone(names[i])
	}
	if len(shapes.known) < maxShapes {
		if shapes.known == nil {
			shapes.known = make(map[string]*shape)
		}
		shapes.known[string(id)] = s
	}
	return s
}

// index lists what is stored under one primary key when the responses vary.
// RFC 9111, 4.1.
type index struct {
	// specs are the Vary lists seen, the most recent first.
	specs [][]string

	// variants are where the responses are kept, the oldest first.
	variants []hash
}

// maxSpecs bounds how many different Vary lists of one URL are tried.
const maxSpecs = 4

func (x *index) weight() int {
	n := 16 * len(x.variants)
	for _, s := range x.specs {
		n += 24 + 32*len(s)
	}
	return n
}

// with returns an index that knows one more variant, and the variants that had
// to go to keep to the limit.
func (x *index) with(spec []string, variant hash, limit int) (next *index, gone []hash) {
	next = &index{specs: [][]string{spec}}
	if x != nil {
		for _, s := range x.specs {
			if !slices.Equal(s, spec) && len(next.specs) < maxSpecs {
				next.specs = append(next.specs, s)
			}
		}
		for _, v := range x.variants {
			if v != variant {
				next.variants = append(next.variants, v)
			}
		}
	}
	next.variants = append(next.variants, variant)
	if over := len(next.variants) - limit; over > 0 {
		gone = slices.Clone(next.variants[:over])
		next.variants = slices.Delete(next.variants, 0, over)
	}
	return next, gone
}

// rendered holds the fields of a response from the cache that change only once
// a second.
type rendered struct {
	second int64 // of age
	age    []string
	status []string
}

// adoptHead rebuilds shape and values from a serialized head that came from
// elsewhere. It reports false if that is no header section.
func (e *Entry) adoptHead() bool {
	var names []string
	var ends []uint16
	n := 0
	for rest := e.head; rest != ""; {
		line, after, ok := strings.Cut(rest, "\r\n")
		name, value, colon := strings.Cut(line, ": ")
		if !ok || !colon || !isToken(name) || strings.ContainsAny(value, "\r\n\x00") || n >= 1<<16-1 {
			return false
		}
		if n++; len(names) == 0 || names[len(names)-1] != name {
			names, ends = append(names, name), append(ends, 0)
		}
		ends[len(ends)-1] = uint16(n)
		rest = after
	}
	e.shape = internShape(names, ends)
	e.values = sliceValues(e.head, n)
	return true
}

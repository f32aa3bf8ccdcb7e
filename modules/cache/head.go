package cache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Bounds of a header section that is stored: fields in bytes, and lines.
const (
	maxHead  = 256 << 10
	maxLines = 1 << 12
)

// get returns the first value of a stored field.
func (e *Entry) get(name string) string {
	if e.shape == nil {
		return ""
	}
	at, line := 0, 0
	for i, n := range e.shape.names {
		if n == name {
			return e.head[at+len(n)+2 : e.ends[line]]
		}
		line = int(e.shape.ends[i])
		at = int(e.ends[line-1]) + 2
	}
	return ""
}

// values returns the values of all lines, in a slice of their own. What they
// point to is the stored head.
func (e *Entry) values() []string {
	values := make([]string, len(e.ends))
	at, line := 0, 0
	for i, name := range e.shape.names {
		for ; line < int(e.shape.ends[i]); line++ {
			values[line] = e.head[at+len(name)+2 : e.ends[line]]
			at = int(e.ends[line]) + 2
		}
	}
	return values
}

// header returns the stored fields as a map of its own.
func (e *Entry) header() http.Header {
	values := e.values()
	h := make(http.Header, len(e.shape.names))
	for i, name := range e.shape.names {
		from, to := e.shape.span(i)
		h[name] = values[from:to:to]
	}
	return h
}

// setHeader fills the entry with the fields that may be stored.
func (e *Entry) setHeader(h http.Header, omit func(name string) bool) {
	var room [32]string // most heads have fewer names
	names := room[:0]
	size, lines := 0, 0
	for name, values := range h {
		if len(values) == 0 || omit(name) {
			continue
		}
		names = append(names, name)
		lines += len(values)
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.Grow(size)
	var lastRoom [len(room)]uint16
	ends, last := make([]uint32, 0, lines), lastRoom[:0]
	for _, name := range names {
		for _, v := range h[name] {
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(v)
			ends = append(ends, uint32(b.Len()))
			b.WriteString("\r\n")
		}
		last = append(last, uint16(len(ends)))
	}
	e.head, e.shape, e.ends = b.String(), internShape(names, last), ends
}

// storableHead tells whether a header section is within the bounds.
func storableHead(h http.Header) bool {
	size, lines := 0, 0
	for name, values := range h {
		lines += len(values)
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	return size <= maxHead && lines <= maxLines
}

// adoptHead rebuilds what is known of a serialized head that came from
// elsewhere. It reports false if that is no header section.
func (e *Entry) adoptHead() bool {
	var names []string
	var last []uint16
	at := 0
	for rest := e.head; rest != ""; {
		line, after, ok := strings.Cut(rest, "\r\n")
		name, value, colon := strings.Cut(line, ": ")
		if !ok || !colon || !isToken(name) || strings.ContainsAny(value, "\r\n\x00") || len(e.ends) >= maxLines || len(e.head) > maxHead {
			return false
		}
		e.ends = append(e.ends, uint32(at+len(line)))
		if len(names) == 0 || names[len(names)-1] != name {
			names, last = append(names, name), append(last, 0)
		}
		last[len(last)-1] = uint16(len(e.ends))
		at += len(line) + 2
		rest = after
	}
	e.shape = internShape(names, last)
	return true
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
	sync.RWMutex
	known map[string]*shape
}

// internShape returns the shape of these names, and keeps neither slice.
func internShape(names []string, ends []uint16) *shape {
	var room [1 << 10]byte
	id := room[:0]
	for i, n := range names {
		id = append(id, n...)
		id = append(id, ':')
		id = strconv.AppendUint(id, uint64(ends[i]), 10)
		id = append(id, ' ')
	}
	shapes.RLock()
	s := shapes.known[string(id)]
	shapes.RUnlock()
	if s != nil {
		return s
	}
	return newShape(string(id), names, ends)
}

func newShape(id string, names []string, ends []uint16) *shape {
	s := &shape{names: make([]string, len(names)), ends: slices.Clone(ends)}
	for i, name := range names {
		s.names[i] = strings.Clone(name)
	}
	shapes.Lock()
	defer shapes.Unlock()
	if len(shapes.known) < maxShapes {
		if shapes.known == nil {
			shapes.known = make(map[string]*shape)
		}
		shapes.known[id] = s
	}
	return s
}

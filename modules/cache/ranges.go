package cache

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// span is a part of a body: length bytes from start on.
type span struct{ start, length int64 }

// maxRanges bounds how many ranges of one request are looked at; more are an
// attack or a mistake, and RFC 9110, 14.2 lets a server ignore them.
const maxRanges = 16

// rangeResult says what a Range field asks for.
type rangeResult uint8

const (
	rangeNone rangeResult = iota // to be ignored: there is none, or it is malformed
	rangeSome
	rangeUnsatisfiable
)

// parseRange reads a Range field for a body of size bytes and returns the parts
// in the order in which they were asked for; those that touch or overlap are one.
// RFC 9110, 14.1.2.
func parseRange(lines []string, size int64) ([]span, rangeResult) {
	if len(lines) != 1 {
		return nil, rangeNone
	}
	unit, set, ok := strings.Cut(lines[0], "=")
	if !ok || !strings.EqualFold(trimOWS(unit), "bytes") || strings.Count(set, ",") >= maxRanges {
		return nil, rangeNone
	}
	var all []span
	any := false
	for spec := range strings.SplitSeq(set, ",") {
		if spec = trimOWS(spec); spec == "" {
			continue
		}
		s, satisfiable, ok := parseRangeSpec(spec, size)
		if !ok {
			return nil, rangeNone
		}
		any = true
		if satisfiable {
			all = coalesce(all, s)
		}
	}
	switch {
	case !any:
		return nil, rangeNone
	case len(all) == 0:
		return nil, rangeUnsatisfiable
	}
	return all, rangeSome
}

// coalesce adds a part to others, and makes one of those that touch or overlap,
// so that no byte is sent twice. RFC 9110, 15.3.7.2 and 17.15.
func coalesce(all []span, s span) []span {
	for i := 0; i < len(all); {
		if o := all[i]; s.start <= o.start+o.length && o.start <= s.start+s.length {
			end := max(s.start+s.length, o.start+o.length)
			s.start = min(s.start, o.start)
			s.length = end - s.start
			all = slices.Delete(all, i, i+1)
			i = 0
			continue
		}
		i++
	}
	return append(all, s)
}

// parseRangeSpec reads "5-9", "5-" or "-5".
func parseRangeSpec(spec string, size int64) (s span, satisfiable, ok bool) {
	from, to, found := strings.Cut(spec, "-")
	if !found {
		return span{}, false, false
	}
	if from == "" {
		n, ok := parsePosition(to)
		n = min(n, size)
		return span{size - n, n}, n > 0, ok
	}
	start, ok := parsePosition(from)
	if !ok {
		return span{}, false, false
	}
	last := size - 1
	if to != "" {
		if last, ok = parsePosition(to); !ok || last < start {
			return span{}, false, false
		}
	}
	last = min(last, size-1)
	return span{start, last - start + 1}, start < size, true
}

// parsePosition reads digits; what is too large to hold is beyond any body.
func parsePosition(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	if len(strings.TrimLeft(s, "0")) > 18 {
		return 1<<62 - 1, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// parseContentRange reads "bytes 4-9/10". RFC 9110, 14.4. The total must be
// known.
func parseContentRange(lines []string) (s span, total int64, ok bool) {
	if len(lines) != 1 {
		return span{}, 0, false
	}
	rest, found := strings.CutPrefix(lines[0], "bytes ")
	if !found {
		return span{}, 0, false
	}
	positions, size, found := strings.Cut(rest, "/")
	from, to, dash := strings.Cut(positions, "-")
	if !found || !dash || from == "" || to == "" || size == "" {
		return span{}, 0, false
	}
	start, ok1 := parsePosition(from)
	last, ok2 := parsePosition(to)
	total, ok3 := parsePosition(size)
	if !ok1 || !ok2 || !ok3 || last < start || last >= total {
		return span{}, 0, false
	}
	return span{start, last - start + 1}, total, true
}

// rangeHolds evaluates If-Range: without it, or if it names the stored response
// by a strong validator, a range may be answered. RFC 9110, 13.1.5.
func rangeHolds(lines []string, e *Entry) bool {
	if len(lines) == 0 {
		return true
	}
	if len(lines) != 1 {
		return false
	}
	if v := lines[0]; strings.HasPrefix(v, `"`) {
		return strong(v) && v == e.etag()
	}
	lm := e.get("Last-Modified")
	return lm != "" && lines[0] == lm && strongDate(e)
}

// strongDate tells whether Last-Modified is a strong validator: a second or more
// before Date, or a second change could hide behind it. RFC 9110, 8.8.2.2.
func strongDate(e *Entry) bool {
	modified, ok1 := ParseDate(e.get("Last-Modified"), e.born/1000)
	date, ok2 := ParseDate(e.get("Date"), e.born/1000)
	return ok1 && ok2 && date > modified
}

// contentRange formats the field for a part of total bytes.
func contentRange(s span, total int64) string {
	b := append(make([]byte, 0, 48), "bytes "...)
	b = strconv.AppendInt(b, s.start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, s.start+s.length-1, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, total, 10))
}

// covers tells whether the entry has the bytes of s.
func (e *Entry) covers(s span) bool {
	part, _ := e.extent()
	return s.start >= part.start && s.start+s.length <= part.start+part.length
}

// bytes returns a part of the body that the entry covers.
func (e *Entry) bytes(s span) []byte {
	part, _ := e.extent()
	return e.body[s.start-part.start:][:s.length]
}

// sufficient tells whether the entry has what the request wants of its body. A
// complete response always has; a partial one only ranges within it.
func sufficient(q *Request, e *Entry) bool {
	if !e.has(flagPartial) {
		return true
	}
	_, total := e.extent()
	parts, result := parseRange(q.Range, total)
	return result == rangeSome && q.Method == http.MethodGet && rangeHolds(q.IfRange, e) &&
		!slices.ContainsFunc(parts, func(s span) bool { return !e.covers(s) })
}

// partial makes the head of a 206 into that of the response it is a part of, so
// that the rules for storing can judge it. It reports false if the parts cannot
// be told. RFC 9111, 3.3.
func partial(res *Response) (whole Response, s span, total int64, ok bool) {
	s, total, ok = parseContentRange(res.Header["Content-Range"])
	if n := contentLength(res.Header); !ok || n >= 0 && n != s.length {
		return whole, s, total, false // also multipart/byteranges
	}
	whole = *res
	whole.Status = http.StatusOK
	whole.Header = maps.Clone(res.Header)
	delete(whole.Header, "Content-Range")
	whole.Header["Content-Length"] = []string{strconv.FormatInt(total, 10)}
	return whole, s, total, true
}

// combine joins a part with another that is stored, if they touch and a strong
// entity tag proves them to be of one representation. RFC 9111, 3.4. The result
// has the header of the newer one and may be complete.
func combine(e, old *Entry) *Entry {
	at, total := e.extent()
	oldAt, oldTotal := old.extent()
	if !old.has(flagPartial) || oldTotal != total || !strong(e.etag()) || e.etag() != old.etag() {
		return e
	}
	front, back, start, next := old.body, e.body, oldAt.start, at.start
	if next < start {
		front, back, start, next = back, front, next, start
	}
	overlap := start + int64(len(front)) - next
	if overlap < 0 {
		return e
	}
	body := front
	if overlap < int64(len(back)) {
		body = slices.Concat(front, back[overlap:])
	}
	c := e.withBody(body)
	c.alter(func(r *rare) { r.offset = start })
	if int64(len(body)) == total {
		c.flags &^= flagPartial
		c.alter(func(r *rare) { r.offset, r.total = 0, 0 })
	}
	return c
}

package cache

import (
	"maps"
	"net/http"
	"strconv"
)

// completable tells whether the rest of a stored part can be asked for by one
// range, and whether it can be told that it is the rest of the same: by a strong
// entity tag. RFC 9111, 3.4.
func (e *Entry) completable() bool {
	part, total := e.extent()
	return e.has(flagPartial) && strong(e.etag()) && (part.start == 0 || part.start+part.length == total)
}

// takesWhole tells whether the request wants the whole of the response, and
// nothing that is for the origin to judge.
func (x *exchange) takesWhole() bool {
	h := x.r.Header
	return x.r.Method == http.MethodGet && len(h["Range"]) == 0 && !conditional(h) && !x.q.Control.NoStore
}

// rest is what a completable entry lacks.
func (e *Entry) rest() span {
	part, total := e.extent()
	if part.start == 0 {
		return span{part.length, total - part.length}
	}
	return span{0, part.start}
}

// askForRest returns a request's header with a Range for what the entry lacks.
// With If-Range the origin sends the whole if it has another by now.
func (e *Entry) askForRest(h http.Header) http.Header {
	h = maps.Clone(h)
	s := e.rest()
	value := append(make([]byte, 0, 32), "bytes="...)
	value = append(strconv.AppendInt(value, s.start, 10), '-')
	if s.start == 0 {
		value = strconv.AppendInt(value, s.length-1, 10)
	}
	h["Range"], h["If-Range"] = []string{string(value)}, []string{e.etag()}
	return h
}

// complete makes the head of a 206 into that of the whole response, if it is the
// rest of the stored part, and returns the status. If it is not, the origin is
// asked again.
func (f *fill) complete() int {
	s, total, ok := parseContentRange(f.header["Content-Range"])
	_, want := f.part.extent()
	n := contentLength(f.header)
	if !ok || total != want || s != f.part.rest() || n >= 0 && n != s.length || first(f.header["Etag"]) != f.part.etag() {
		f.again = true
		return http.StatusPartialContent
	}
	for name, values := range f.part.header() { // RFC 9111, 3.4: the newer ones count
		if f.header[name] == nil {
			f.header[name] = values
		}
	}
	if own := f.part.own(); own != "" && f.header[ownField] == nil {
		f.header[ownField] = []string{own}
	}
	delete(f.header, "Content-Range")
	f.header["Content-Length"] = []string{strconv.FormatInt(total, 10)}
	if s.start == 0 {
		f.after = f.part.body
	} else {
		f.before = f.part.body
	}
	return http.StatusOK
}

// addEnd adds the stored end to a beginning that came whole.
func (f *fill) addEnd() {
	if len(f.after) > 0 && f.wrote == f.part.rest().length {
		_, _ = f.Write(f.after)
	}
}

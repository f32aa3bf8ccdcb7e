package cache

import (
	"crypto/rand"
	"io"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// outcomeValues are the outcomes as values of a request variable, boxed once.
var outcomeValues = func() (v [len(outcomeText)]any) {
	for i, text := range outcomeText {
		v[i] = text
	}
	return v
}()

func noteOutcome(r *http.Request, o outcome) {
	outcomeCounters[o].Inc()
	caddyhttp.SetVar(r.Context(), gateway.VarCacheStatus, outcomeValues[o])
	if s, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && s != nil && s.Logs == nil {
		return // there is no access log
	}
	gateway.LogField(r, zap.String("cache_status", outcomeText[o]))
}

// answer writes a stored response to the client: as a whole, in part, or as 304.
// status replaces the Cache-Status of a plain hit.
func (x *exchange) answer(e *Entry, status []string, o outcome) {
	x.note(o)
	h := x.r.Header
	if notModified(h, e, x.now) {
		x.writeNotModified(e, status)
		return
	}
	if len(h["Range"]) > 0 && x.r.Method == http.MethodGet && x.answerRange(e, status) {
		return
	}
	x.writeEntryHead(e, status)
	if x.r.Method != http.MethodHead {
		x.writeBody(e.body)
	}
}

func (x *exchange) writeBody(body []byte) {
	if len(body) > 0 {
		bytesServed.Add(float64(len(body)))
		_, _ = x.w.Write(body)
	}
}

// answerRange answers with parts of the body. It reports false if the whole is
// the answer. RFC 9110, 14.2: ranges of other responses than 200 mean nothing.
func (x *exchange) answerRange(e *Entry, status []string) bool {
	if e.status != http.StatusOK || !rangeHolds(x.r.Header["If-Range"], e) {
		return false
	}
	_, total := e.extent()
	parts, result := parseRange(x.r.Header["Range"], total)
	if result == rangeNone {
		return false
	}
	x.mergeEntry(e, status)
	h := x.w.Header()
	switch {
	case result == rangeUnsatisfiable:
		h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(total, 10)}
		delete(h, "Content-Length")
		delete(h, "Content-Type")
		x.w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
	case len(parts) == 1:
		h["Content-Range"] = []string{contentRange(parts[0], total)}
		h["Content-Length"] = []string{strconv.FormatInt(parts[0].length, 10)}
		x.w.WriteHeader(http.StatusPartialContent)
		x.writeBody(e.bytes(parts[0]))
	default:
		x.writeParts(e, parts, total)
	}
	return true
}

// writeParts answers with several parts as multipart/byteranges. RFC 9110, 14.6
// and 15.3.7.2.
func (x *exchange) writeParts(e *Entry, parts []span, total int64) {
	boundary := rand.Text() // nobody can have put it into the body
	end := "\r\n--" + boundary + "--\r\n"
	heads := make([]string, len(parts))
	length := int64(len(end))
	for i, s := range parts {
		heads[i] = "\r\n--" + boundary + "\r\n"
		if media := e.get("Content-Type"); media != "" {
			heads[i] += "Content-Type: " + media + "\r\n"
		}
		heads[i] += "Content-Range: " + contentRange(s, total) + "\r\n\r\n"
		length += int64(len(heads[i])) + s.length
	}
	h := x.w.Header()
	h["Content-Type"] = []string{"multipart/byteranges; boundary=" + boundary}
	h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	x.w.WriteHeader(http.StatusPartialContent)
	for i, s := range parts {
		_, _ = io.WriteString(x.w, heads[i])
		x.writeBody(e.bytes(s))
	}
	_, _ = io.WriteString(x.w, end)
}

// writeEntryHead writes status and header of a stored response, with Age and
// Cache-Status.
func (x *exchange) writeEntryHead(e *Entry, status []string) {
	x.mergeEntry(e, status)
	x.w.WriteHeader(int(e.status))
}

// writeNotModified answers 304 with what RFC 9110, 15.4.5 asks for and without
// what describes a body.
func (x *exchange) writeNotModified(e *Entry, status []string) {
	x.mergeEntry(e, status)
	h := x.w.Header()
	for _, name := range [...]string{"Content-Length", "Content-Encoding", "Content-Type", "Content-Range", "Content-Language"} {
		delete(h, name)
	}
	x.w.WriteHeader(http.StatusNotModified)
}

func (x *exchange) mergeEntry(e *Entry, status []string) {
	dst := x.w.Header()
	delete(dst, "Server") // ours, set by Caddy; the response has its own or none
	values := e.values()
	for i, name := range e.shape.names {
		from, to := e.shape.span(i)
		mergeField(dst, name, values[from:to:to])
	}
	r := e.render(x.h.name, x.now)
	dst["Age"] = r.age[:1:1]
	if status == nil {
		status = r.status
	}
	dst["Cache-Status"] = append(dst["Cache-Status"][:len(dst["Cache-Status"]):len(dst["Cache-Status"])], status...)
}

// render returns Age and Cache-Status for now; within one second they are made
// once.
func (e *Entry) render(name string, now int64) *rendered {
	second := e.age(now) / 1000
	if r := e.rendered.Load(); r != nil && r.second == second {
		return r
	}
	ttl := (e.expires - now) / 1000
	if e.expires < now {
		ttl = -((now - e.expires) / 1000)
	}
	r := &rendered{
		second: second,
		age:    []string{strconv.FormatInt(min(second, maxDelta), 10)},
		status: []string{name + "; hit; ttl=" + strconv.FormatInt(ttl, 10)},
	}
	e.rendered.Store(r)
	return r
}

// mergeField puts a field of the inner response into the outer header as a
// handler without cache would have done: values of lists are added, single
// values replaced.
func mergeField(dst http.Header, name string, values []string) {
	if old, ok := dst[name]; ok && !single(name) {
		dst[name] = append(old[:len(old):len(old)], values...)
		return
	}
	dst[name] = values
}

// single tells fields that have one value from those that are lists.
func single(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Content-Encoding", "Content-Location", "Content-Range",
		"Date", "Etag", "Expires", "Last-Modified", "Location", "Retry-After", "Server", "Age":
		return true
	}
	return false
}

package cache

import (
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
	gateway.LogField(r, zap.String("cache_status", outcomeText[o]))
}

// answer writes a stored response to the client.
func (x *exchange) answer(e *Entry, o outcome) {
	x.note(o)
	if notModified(x.r.Header, e, x.now) {
		x.writeNotModified(e, nil)
		return
	}
	x.writeEntryHead(e, nil)
	if x.r.Method != http.MethodHead && len(e.body) > 0 {
		bytesServed.Add(float64(len(e.body)))
		_, _ = x.w.Write(e.body)
	}
}

// writeEntryHead writes status and header of a stored response, with Age and
// Cache-Status. status replaces the Cache-Status of a plain hit.
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
	values := append([]string(nil), e.values...)
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

package cache

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// exchange is one request on its way through the cache. It belongs to the
// goroutine that serves the request.
type exchange struct {
	h    *Handler
	w    http.ResponseWriter
	r    *http.Request
	next caddyhttp.Handler

	q   Request
	t   Target
	p   place
	buf []byte // of the key
	now int64  // Unix milliseconds

	body []byte // of a QUERY request
	part *Entry // that is stored and can be completed, or nil
	lock *lock  // that others in the fleet wait for, or nil

	// lent: a goroutine that saw the client leave may still look at it.
	lent bool
}

var exchanges = sync.Pool{New: func() any { return &exchange{buf: make([]byte, 0, 512)} }}

func (h *Handler) newExchange(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) *exchange {
	return h.newExchangeWith(w, r, next, "")
}

// newExchangeWith is newExchange for a request whose body, digested, is part of
// its key.
func (h *Handler) newExchangeWith(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, body string) *exchange {
	x := exchanges.Get().(*exchange)
	buf := x.buf[:0]
	*x = exchange{h: h, w: w, r: r, next: next, now: time.Now().UnixMilli()}
	x.describe()
	x.t.Body = body
	var from, to int
	x.buf, from, to = h.keys.Append(buf, &x.t, r.Header)
	x.p = newPlace(x.buf, from, to)
	return x
}

// release gives an exchange back. Only what is certain to be its last user may
// call it: one whose client left, whose handler panicked or that is refreshed in
// the background is left to the collector.
func (x *exchange) release() {
	buf := x.buf[:0]
	if x.lent || cap(buf) > 8<<10 {
		return
	}
	*x = exchange{buf: buf}
	exchanges.Put(x)
}

// describe reads from the request what makes up its key and what rules it.
func (x *exchange) describe() {
	r, ctx := x.r, x.r.Context()
	id, _ := caddyhttp.GetVar(ctx, gateway.VarIdentity).(*gateway.Identity)
	x.q = NewRequest(r.Method, r.Header, id != nil)
	x.t = Target{
		Scope:    x.h.scope(ctx),
		Scheme:   "http",
		Host:     r.Host,
		Path:     r.URL.EscapedPath(),
		RawQuery: r.URL.RawQuery,
	}
	if r.URL.ForceQuery && r.URL.RawQuery == "" {
		x.t.Path += "?" // "/a?" is another URI than "/a"
	}
	if r.TLS != nil {
		x.t.Scheme = "https"
		x.q.Credentials = x.q.Credentials || len(r.TLS.PeerCertificates) > 0
	}
	if id != nil {
		x.t.Identified, x.t.Issuer, x.t.Subject, x.t.TokenParam = true, id.Issuer, id.Subject, id.QueryParam
	}
	x.describeRewrite()
	if x.h.IgnoreRequestControl {
		x.q.Control = noDirectives
	}
	if len(x.h.Key.Values) > 0 {
		repl, _ := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		for _, part := range x.h.Key.Values {
			x.t.Extra = append(x.t.Extra, repl.ReplaceAll(part, ""))
		}
	}
}

// describeRewrite keeps apart what two routes rewrite to the same path, and
// what one path is rewritten to for different clients.
func (x *exchange) describeRewrite() {
	orig, ok := x.r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || orig.URL == nil {
		return
	}
	path := orig.URL.EscapedPath()
	if orig.URL.ForceQuery && orig.URL.RawQuery == "" {
		path += "?"
	}
	if path == x.t.Path && orig.URL.RawQuery == x.t.RawQuery {
		return
	}
	x.t.Rewritten = x.t.Path
	if orig.URL.RawQuery != x.t.RawQuery {
		x.t.Rewritten += "?" + x.h.stripToken(x.t.RawQuery, x.t.TokenParam)
	}
	x.t.Path, x.t.RawQuery = path, orig.URL.RawQuery
}

// stripToken leaves a token out of what becomes part of a key.
func (h *Handler) stripToken(query, param string) string {
	if param == "" || query == "" {
		return query
	}
	var k KeyRules
	return strings.TrimPrefix(string(k.appendQuery(nil, query, param)), "?")
}

// look finds the stored response: in memory, then in Redis.
func (x *exchange) look() *Entry {
	e := x.h.store.find(&x.p, x.r.Header)
	if e == nil && x.h.remote != nil {
		e = x.h.remote.fetch(x)
	}
	return e
}

// serveCached runs a GET or HEAD through the cache.
func (x *exchange) serveCached() error {
	e := x.look()
	soft := false
	if e != nil {
		var gone bool
		if gone, soft = x.h.store.purges.State(e); gone {
			e = nil
		}
	}
	v := Decide(&x.q, e, soft, x.now)
	switch v.Action {
	case Serve:
		x.answer(e, nil, outHit)
		x.release()
		return nil
	case ServeAndRefresh:
		x.h.refresh(x, e)
		x.answer(e, nil, outStale)
		return nil
	case Refuse:
		x.w.Header()["Cache-Status"] = append(x.w.Header()["Cache-Status"], x.h.name+"; detail=only-if-cached")
		x.note(outRefused)
		return gateway.Fail(x.r, http.StatusGatewayTimeout, "Not in cache", nil, errOnlyIfCached)
	}
	if v.Why == WhyURIMiss && x.p.varies {
		v.Why = WhyVaryMiss
	}
	if v.Why == WhyPartial && e.completable() && x.takesWhole() {
		x.part = e
	}
	abandoned := e != nil && e.has(flagAbandon)
	if v.Action != Validate {
		e = nil
	}
	err := x.fetch(e, v, abandoned)
	x.release()
	return err
}

// fetch asks the origin, or waits for another request that does.
func (x *exchange) fetch(stored *Entry, v Verdict, abandoned bool) error {
	if abandoned || x.h.CollapseWait < 0 || x.alone(stored, v) {
		return x.forward(stored, v, nil)
	}
	for range 2 {
		fl, leads := x.h.store.flights.join(x.p.variant)
		if leads {
			return x.lead(stored, v, fl)
		}
		again, done, err := x.follow(fl)
		if done {
			return err
		}
		if !again {
			break
		}
	}
	return x.forward(stored, v, nil)
}

// alone tells whether a request must not wait for others, nor others for it: its
// response would not be for them, or theirs not for it.
func (x *exchange) alone(stored *Entry, v Verdict) bool {
	h := x.r.Header
	return x.r.Method == http.MethodHead || v.Why == WhyRequest || x.q.Control.NoStore || len(h["Range"]) > 0 ||
		stored == nil && conditional(h)
}

// follow waits for another request's response and streams with it if that is
// allowed. again means that the response is of another variant, and that the
// place of this request's own is known now.
func (x *exchange) follow(fl *flight) (again, done bool, err error) {
	defer fl.leave()
	patience := time.Duration(x.h.CollapseWait)
	e := fl.wait(x.r.Context(), patience)
	if e == nil || fl.stalled(patience) {
		return false, x.r.Context().Err() != nil, x.r.Context().Err()
	}
	at := x.p.variant
	x.p.settle(fl.selects, x.r.Header)
	if string(x.p.full) != e.key {
		return x.p.variant != at, false, nil
	}
	x.now = time.Now().UnixMilli()
	gone, soft := x.h.store.purges.State(e)
	if gone || Decide(&x.q, e, soft, x.now).Action != Serve {
		return false, false, nil
	}
	x.note(outCollapsed)
	if notModified(x.r.Header, e, x.now) {
		x.writeNotModified(e, x.h.statusCollapsed)
		return false, true, nil
	}
	x.writeEntryHead(e, x.h.statusCollapsed)
	return false, true, x.stream(fl)
}

// stream copies a shared body to this client.
func (x *exchange) stream(fl *flight) error {
	err := copyFlight(x.r.Context(), x.w, fl, nil)
	if err != nil && x.r.Context().Err() == nil {
		panic(http.ErrAbortHandler) // the client must see that it is not whole
	}
	return nil
}

// note leaves the outcome for the metrics, the access log and other modules.
func (x *exchange) note(o outcome) { noteOutcome(x.r, o) }

package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func itoa(n int) string { return strconv.Itoa(n) }

// forward asks the origin and does with the answer what is to be done. With a
// flight, others may be waiting for it.
func (x *exchange) forward(stored *Entry, v Verdict, fl *flight) error {
	return x.newFill(stored, v, fl).send()
}

func (x *exchange) newFill(stored *Entry, v Verdict, fl *flight) *fill {
	f := &fill{
		x: x, w: x.w, flight: fl, stored: stored, verdict: v,
		header: make(http.Header, 16),
		asked:  time.Now().UnixMilli(),
		seq:    x.h.store.purges.Seq(),
	}
	if x.h.remote != nil {
		f.stamp = x.h.remote.clock.before()
	}
	return f
}

// send calls the next handler with a context that does not end with the client:
// clientGone decides whether it shall.
func (f *fill) send() error {
	x := f.x
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.r.Context()))
	defer cancel()
	f.cancel = cancel
	stop := func() bool { return true }
	if x.w != nil {
		if f.server = x.w.Header()["Server"]; f.server != nil {
			f.header["Server"] = slices.Clone(f.server)
		}
		stop = context.AfterFunc(x.r.Context(), f.clientGone)
	}
	err := f.run(x.request(ctx, f))
	stop()
	f.mu.Lock()
	if f.patrol != nil {
		f.patrol.Stop()
	}
	f.mu.Unlock()
	return f.conclude(err)
}

// request makes the request for the origin. RFC 9111, 4.3.1: to validate, the
// stored response's validators take the place of the client's.
func (x *exchange) request(ctx context.Context, f *fill) *http.Request {
	r := x.r.WithContext(ctx)
	if x.body != nil {
		r.Body = io.NopCloser(bytes.NewReader(x.body)) // it may be sent again
	}
	if f.stored == nil {
		return r
	}
	r.Header = maps.Clone(x.r.Header)
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since", "If-Range", "Range"} {
		delete(r.Header, name)
	}
	if etag := f.stored.etag(); etag != "" {
		r.Header["If-None-Match"] = []string{etag}
	}
	if lm := f.stored.get("Last-Modified"); lm != "" {
		r.Header["If-Modified-Since"] = []string{lm}
	}
	return r
}

// run calls the next handler. If it panics, which is how reverse_proxy reports
// a body that breaks off, those who share the response are told first.
func (f *fill) run(r *http.Request) error {
	returned := false
	defer func() {
		if !returned {
			f.lose()
		}
	}()
	if f.stored != nil && f.verdict.Stale != StaleNever && f.w != nil {
		caddyhttp.SetVar(r.Context(), gateway.VarStale, gateway.StaleFunc(f.fallBack))
		defer caddyhttp.SetVar(r.Context(), gateway.VarStale, nil)
	}
	err := f.x.next.ServeHTTP(f, r)
	returned = true
	return err
}

// fallBack is the StaleFunc of this request: the stored response will answer
// once the next handler has returned.
func (f *fill) fallBack(http.ResponseWriter, *http.Request) bool {
	if f.mode != undecided {
		return false
	}
	f.useStale = true
	return true
}

// lose ends the fill without a response that others could use.
func (f *fill) lose() {
	if f.flight != nil {
		f.x.h.store.flights.end(f.flight)
		f.flight.finish(lost)
	}
	if f.pump != nil {
		<-f.pump.done
	}
}

// conclude acts on what the next handler did.
func (f *fill) conclude(err error) error {
	switch {
	case f.useStale:
		f.lose()
		return f.answerStale(0)
	case f.mode == swallow && f.stored != nil && f.res.Status == http.StatusNotModified:
		return f.freshen()
	case f.mode == swallow && f.stored != nil:
		f.lose()
		return f.answerStale(f.res.Status)
	case f.mode == undecided && err != nil && f.stored != nil && f.verdict.Stale != StaleNever && failed(err):
		f.lose()
		return f.answerStale(0)
	case err != nil:
		f.lose()
		if f.mode == undecided {
			f.handOnHeader()
		}
		return err
	case f.mode == undecided:
		f.lose()
		f.nothing()
		return nil
	}
	f.trailers()
	f.note()
	if f.entry == nil {
		f.lose()
		return f.pumpError()
	}
	f.commit()
	return f.pumpError()
}

// nothing concludes for a handler that wrote no response.
func (f *fill) nothing() {
	f.handOnHeader()
	f.note()
}

// handOnHeader gives the client the header of a handler that wrote no response:
// an error comes with its Retry-After, say.
func (f *fill) handOnHeader() {
	if f.w == nil {
		return
	}
	delete(f.header, "Server")
	for name, values := range f.header {
		mergeField(f.w.Header(), name, values)
	}
}

func (f *fill) note() {
	switch {
	case f.w == nil, f.onHead != nil:
	case f.stored != nil:
		f.x.note(outRevalidated)
	default:
		f.x.note(outMiss)
	}
}

// pumpError waits until the client has the body.
func (f *fill) pumpError() error {
	if f.pump != nil {
		<-f.pump.done
	}
	return nil
}

// failed tells an origin that gave no answer from a handler's refusal.
func failed(err error) bool {
	var he caddyhttp.HandlerError
	if errors.As(err, &he) {
		return he.StatusCode >= 500
	}
	return !errors.Is(err, context.Canceled)
}

// answerStale answers with the stored response although it is stale.
func (f *fill) answerStale(status int) error {
	x := f.x
	if f.w == nil {
		return nil
	}
	x.now = time.Now().UnixMilli()
	s := x.h.name + "; hit; fwd=" + f.verdict.Why.String()
	if status != 0 {
		s += "; fwd-status=" + itoa(status)
	}
	x.answer(f.stored, []string{s + "; detail=stale-if-error"}, outStale)
	return nil
}

// freshen updates the stored response with a 304 and answers with it. RFC 9111,
// 4.3.4.
func (f *fill) freshen() error {
	x := f.x
	x.now = time.Now().UnixMilli()
	if !selects(f.header, f.stored) {
		// the origin speaks of a response that is not the one we have
		f.drop()
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
	return etag == e.etag() || strings.HasPrefix(e.etag(), etag[:len(etag)-1]+"-")
}

// updated is the stored response with the header of the 304. RFC 9111, 3.2:
// fields that describe the stored bytes stay.
func (f *fill) updated() *Entry {
	h := f.stored.header()
	if f.stored.own != "" {
		h[ownField] = []string{f.stored.own}
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
	f.x.p.settle(vary, f.x.r.Header)
	f.tags = tagsOf(h, f.x.h.TagsHeader)
	label(e, &f.x.p, f.tags)
	e.body, e.seq = f.stored.body, f.seq
	if f.flight != nil {
		f.flight.vary = vary
	}
	return e
}

// commit stores a response that came whole.
func (f *fill) commit() {
	x := f.x
	if !f.whole() {
		stores.WithLabelValues("incomplete").Inc()
		f.lose()
		return
	}
	e := f.entry.withBody(f.flight.body())
	if e.has(flagPartial) {
		old := x.h.store.memory.get(x.p.variant, x.p.full)
		if old != nil {
			if gone, _ := x.h.store.purges.State(old); gone {
				old = nil
			}
		}
		if old != nil && old.index == nil && !old.has(flagPartial|flagAbandon) && x.now < old.expires {
			f.lose() // the whole is there already
			return
		}
		e = combine(e, old)
	}
	f.keepEntry(e)
	f.flight.finish(landed)
	x.h.store.flights.end(f.flight)
}

// keepEntry puts an entry into memory and Redis, unless it was purged meanwhile.
func (f *fill) keepEntry(e *Entry) {
	x := f.x
	if gone, _ := x.h.store.purges.State(e); gone {
		stores.WithLabelValues("purged").Inc()
		return
	}
	x.h.store.put(&x.p, e, x.h.VaryLimit)
	if x.h.remote != nil {
		x.h.remote.save(x, e, f.tags, f.stamp, x.h.L2.MaxBody)
	}
	stores.WithLabelValues("stored").Inc()
}

// refresh fetches a new response in the background, unless somebody does so
// already. RFC 5861, 3.
func (h *Handler) refresh(x *exchange, stored *Entry) {
	fl, leads := h.store.flights.join(x.p.variant)
	if !leads {
		fl.leave()
		return
	}
	select {
	case h.refreshes <- struct{}{}:
	default: // enough of that
		h.store.flights.end(fl)
		fl.finish(lost)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), time.Duration(h.FillTimeout))
	bg := &exchange{h: h, next: x.next, q: x.q, t: x.t, p: x.p, now: x.now}
	bg.q.Control, bg.body = noDirectives, x.body
	bg.r = background(ctx, x.r)
	go func() {
		defer func() {
			cancel()
			<-h.refreshes
			if err := recover(); err != nil && !isAbort(err) {
				panic(err)
			}
		}()
		_ = bg.forward(stored, Verdict{Action: Validate, Why: WhyStale}, fl)
	}()
}

// isAbort tells whether a panic is the way in which a handler ends a response
// that broke off.
func isAbort(recovered any) bool {
	err, ok := recovered.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// background makes a request that outlives the one it is a copy of: with its own
// header, variables, log fields and replacer. Placeholders that earlier handlers
// set, such as {http.auth.user.id}, keep their values.
func background(ctx context.Context, r *http.Request) *http.Request {
	vars, _ := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
	old, _ := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	bg := r.Clone(ctx)
	bg.Body = http.NoBody
	if old == nil || server == nil {
		return bg
	}
	orig := ctx.Value(caddyhttp.OriginalRequestCtxKey)
	repl := caddy.NewReplacer()
	bg = caddyhttp.PrepareRequest(bg, repl, nil, server)
	bg = bg.WithContext(context.WithValue(bg.Context(), caddyhttp.OriginalRequestCtxKey, orig))
	for k, v := range vars {
		caddyhttp.SetVar(bg.Context(), k, v)
	}
	repl.Map(func(key string) (any, bool) {
		if strings.HasPrefix(key, "http.response.") {
			return nil, false
		}
		return old.Get(key)
	})
	return bg
}

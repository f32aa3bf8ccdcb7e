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
	"time"

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
		header: make(http.Header, 8),
		asked:  time.Now().UnixMilli(),
		seq:    x.h.store.purges.Seq(),
	}
	if x.h.remote != nil {
		f.stamp = x.h.remote.clock.before()
	}
	f.part, x.part = x.part, nil
	f.lock, x.lock = x.lock, nil
	return f
}

// send calls the next handler with a context that does not end with the client:
// clientGone decides whether it shall.
func (f *fill) send() error {
	x := f.x
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.r.Context()))
	defer cancel()
	f.cancel = cancel
	defer f.unlock()
	stop := func() bool { return true }
	if x.w != nil {
		if f.server = x.w.Header()["Server"]; f.server != nil {
			f.header["Server"] = slices.Clone(f.server)
		}
		stop = context.AfterFunc(x.r.Context(), f.clientGone)
	}
	err := f.run(x.request(ctx, f))
	x.lent = !stop() || x.lent
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
	if f.part != nil {
		r.Header = f.part.askForRest(x.r.Header)
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
	x := f.x
	switch {
	case f.again:
		f.handOver()
		return x.forward(nil, f.verdict, f.flight)
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
		f.failed = true
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
	f.addEnd()
	f.trailers()
	f.note()
	f.learn()
	if f.entry == nil {
		f.lose()
		return f.pumpError()
	}
	f.commit()
	return f.pumpError()
}

// handOver leaves to the request's next fill what this one held.
func (f *fill) handOver() { f.x.lock, f.lock = f.lock, nil }

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

// commit stores a response that came whole.
func (f *fill) commit() {
	x := f.x
	if !f.whole() {
		fillsIncomplete.Inc()
		f.lose()
		return
	}
	e := f.flight.complete(f.entry)
	if e.has(flagPartial) {
		if e = f.joined(e); e == nil {
			f.lose()
			return
		}
	}
	f.keepEntry(e)
	f.flight.finish(landed)
	x.h.store.flights.end(f.flight)
}

// joined is a part that came, with what is stored already. It is nil if that is
// the whole.
func (f *fill) joined(e *Entry) *Entry {
	x := f.x
	old := x.h.store.memory.get(x.p.variant, x.p.full)
	if old == nil || old.index() != nil || old.has(flagAbandon) {
		return e
	}
	if gone, _ := x.h.store.purges.State(old); gone {
		return e
	}
	if !old.has(flagPartial) && x.now < old.expires {
		return nil
	}
	return combine(e, old)
}

// keepEntry puts an entry into memory and Redis, unless it was purged meanwhile.
func (f *fill) keepEntry(e *Entry) {
	x := f.x
	if gone, _ := x.h.store.purges.State(e); gone {
		fillsPurged.Inc()
		return
	}
	x.h.store.put(&x.p, e, x.h.VaryLimit)
	if x.h.remote != nil {
		f.saved = x.h.remote.save(x, e, f.tags, f.stamp, x.h.L2.MaxBody)
	}
	fillsStored.Inc()
}

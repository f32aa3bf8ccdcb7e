package cache

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// mode is what a fill does with what the next handler writes.
type mode uint8

const (
	undecided mode = iota
	passing        // to the client, nothing is stored
	storing        // to the client by the same goroutine, and stored
	pumping        // stored, and to the client by a goroutine of its own
	silent         // stored, there is no client
	swallow        // nowhere: the stored response will answer
)

// smallBody is up to which announced length a body is written to the client by
// the goroutine that fetches it: it fits the server's buffers, so a slow client
// cannot hold up those who wait for the same response.
const smallBody = 4 << 10

// fill is what the next handler writes its response to. Its header map is a
// fresh one, so that what outer handlers set is neither stored nor replayed.
type fill struct {
	x        *exchange
	w        http.ResponseWriter // nil in the background
	flight   *flight
	stored   *Entry // being validated, or nil
	verdict  Verdict
	cancel   context.CancelFunc
	header   http.Header
	server   []string // what Caddy had set as Server
	asked    int64
	seq      uint64
	stamp    int64 // of Redis, for the second level
	res      Response
	mode     mode
	entry    *Entry // to be stored, or nil
	tags     []string
	wrote    int64
	useStale bool
	written  bool // a head went to the client
	pump     *pump

	// onHead, if not nil, is called with the status before anything is decided.
	// If it returns false, nothing is stored.
	onHead func(status int) bool
	barred bool

	// part is the stored part that this fill completes, or nil: before and after
	// are what goes around the part that comes.
	part          *Entry
	before, after []byte

	// again: what came is of no use, and the origin is to be asked anew.
	again bool

	// lock is what others in the fleet wait for, or nil; saved tells that the
	// response is on its way to Redis, failed that there was none.
	lock          *lock
	saved, failed bool

	mu     sync.Mutex // guards what clientGone reads
	keep   bool       // the client may leave: the fill goes on
	patrol *time.Timer
}

// Header returns the inner header map.
func (f *fill) Header() http.Header { return f.header }

// Unwrap gives http.ResponseController the client's writer.
func (f *fill) Unwrap() http.ResponseWriter { return f.w }

// WriteHeader decides what becomes of the response. RFC 9110, 15.2: interim
// responses pass.
func (f *fill) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		f.interim(status)
		return
	}
	if f.mode != undecided {
		return
	}
	if f.part != nil && status == http.StatusPartialContent {
		status = f.complete()
	}
	f.res = Response{Status: status, Header: f.header, Asked: f.asked, Answered: time.Now().UnixMilli()}
	f.barred = f.onHead != nil && !f.onHead(status)
	f.mode = f.decide(status)
	if f.mode == swallow {
		return
	}
	f.setKeep(f.entry != nil)
	f.share()
	if f.w != nil {
		f.writeHead(status)
		if f.mode == pumping {
			f.pump = startPump(f)
		}
	}
	if len(f.before) > 0 {
		_, _ = f.Write(f.before) // a client that left shows with the next write
	}
}

func (f *fill) interim(status int) {
	if f.w == nil {
		return
	}
	outer := f.w.Header()
	before := make(http.Header, len(f.header))
	for name, values := range f.header {
		before[name] = outer[name]
		outer[name] = values
	}
	f.w.WriteHeader(status)
	for name, values := range before {
		if values == nil {
			delete(outer, name)
		} else {
			outer[name] = values
		}
	}
}

// decide settles the mode for a final status.
func (f *fill) decide(status int) mode {
	if f.again || f.useStale || f.stored != nil && (status == http.StatusNotModified || f.survives(status)) {
		return swallow
	}
	f.admit()
	switch {
	case f.entry == nil && f.w == nil:
		return swallow
	case f.entry == nil:
		return passing
	case f.w == nil:
		return silent
	}
	if n := contentLength(f.header); n >= 0 && n <= smallBody || status == http.StatusNoContent {
		return storing
	}
	return pumping
}

// survives tells whether an error of the origin is answered with what is
// stored. RFC 5861, 4.
func (f *fill) survives(status int) bool {
	if f.verdict.Stale != StaleOnError {
		return false
	}
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// admit makes the entry, if the response may be stored.
func (f *fill) admit() {
	x := f.x
	if x.r.Method == http.MethodHead || f.barred {
		return
	}
	e, vary := f.judge()
	if e == nil || f.onHead != nil && (!e.has(flagExplicit) || e.expires <= e.born) {
		stores.WithLabelValues("uncacheable").Inc()
		return
	}
	if f.flight == nil {
		f.flight = new(flight)
	}
	f.entry = e
	f.name(e, f.header, vary)
}

// name gives an entry its key, by what its header says of the requests that it
// answers, and its tags.
func (f *fill) name(e *Entry, h http.Header, vary []string) {
	x := f.x
	s := selection{search: parseVariance(h["No-Vary-Search"]), vary: vary}
	x.p.settle(s, x.r.Header)
	f.tags = tagsOf(h, x.h.TagsHeader)
	label(e, &x.p, f.tags)
	e.seq = f.seq
	if f.flight != nil {
		f.flight.selects = s
	}
}

// judge asks the rules whether the response may be stored. Of a partial response
// they judge the whole.
func (f *fill) judge() (*Entry, []string) {
	rules := &f.x.h.rules
	if f.res.Status != http.StatusPartialContent {
		return rules.Admit(&f.x.q, &f.res)
	}
	whole, s, total, ok := partial(&f.res)
	if !ok {
		return nil, nil
	}
	e, vary := rules.Admit(&f.x.q, &whole)
	if e != nil {
		e.flags |= flagPartial
		e.alter(func(r *rare) { r.offset, r.total = s.start, total })
	}
	return e, vary
}

// share tells those who wait what came.
func (f *fill) share() {
	if f.flight == nil {
		return
	}
	if f.entry == nil {
		f.unlock()
		f.abandon()
		f.x.h.store.flights.end(f.flight)
	} else if n := contentLength(f.header); n > 0 {
		f.flight.grow(int(n))
	}
	f.flight.announce(f.entry)
}

// abandon remembers for a while that requests for this had better not wait for
// each other, if any did in vain. It never takes the place of a response.
func (f *fill) abandon() {
	x := f.x
	if f.stored != nil || !f.flight.watched() {
		return
	}
	until := time.Now().Add(time.Duration(x.h.HitForMiss)).UnixMilli()
	x.h.store.memory.put(x.p.variant, &Entry{key: string(x.p.full), flags: flagAbandon, keep: until})
}

// writeHead merges the inner header into the outer one and sends it.
func (f *fill) writeHead(status int) {
	dst := f.w.Header()
	if slices.Equal(f.header["Server"], f.server) {
		delete(f.header, "Server") // unchanged: the outer one stands
	} else {
		delete(dst, "Server")
	}
	delete(f.header, ownField)
	for name, values := range f.header {
		mergeField(dst, name, values)
	}
	dst["Cache-Status"] = append(dst["Cache-Status"], f.status(status)...)
	f.written = true
	f.w.WriteHeader(status)
}

// status is the value of Cache-Status for a response of the origin. RFC 9211.
func (f *fill) status(code int) []string {
	if f.stored == nil {
		return f.x.h.statusForwarded[f.verdict.Why][f.entry != nil]
	}
	s := f.x.h.name + "; fwd=" + f.verdict.Why.String() + "; fwd-status=" + itoa(code)
	if f.entry != nil {
		s += "; stored"
	}
	return []string{s}
}

// Write takes a part of the body.
func (f *fill) Write(p []byte) (int, error) {
	if f.mode == undecided {
		f.WriteHeader(http.StatusOK)
	}
	f.wrote += int64(len(p))
	switch f.mode {
	case swallow:
		return len(p), nil
	case passing:
		if f.flight != nil && f.flight.spilled() {
			f.flight.add(p, f.x.h.bodyLimit())
		}
		return f.w.Write(p)
	}
	if f.wrote > int64(f.x.h.bodyLimit()) {
		return f.overflow(p)
	}
	f.flight.add(p, 0)
	if f.mode == storing {
		return f.toClient(p)
	}
	return len(p), nil
}

// toClient writes to a client that may have left: the fill goes on.
func (f *fill) toClient(p []byte) (int, error) {
	if _, err := f.w.Write(p); err != nil && !f.goesOn() {
		return 0, err
	}
	return len(p), nil
}

// overflow gives up storing a body that turned out too large. The client's
// stream first catches up, then goes on by this goroutine.
func (f *fill) overflow(p []byte) (int, error) {
	stores.WithLabelValues("too_large").Inc()
	f.entry = nil
	f.setKeep(false)
	f.x.h.store.flights.end(f.flight)
	f.flight.spill()
	if f.mode == silent {
		f.mode = swallow
		f.cancel()
		return len(p), nil
	}
	if f.pump != nil {
		if err := f.pump.drain(); err != nil {
			return 0, err
		}
	}
	f.mode = passing
	f.flight.add(p, f.x.h.bodyLimit())
	return f.w.Write(p)
}

// ReadFrom lets large bodies that are not stored take the short way.
func (f *fill) ReadFrom(src io.Reader) (int64, error) {
	if rf, ok := f.w.(io.ReaderFrom); ok && f.mode == passing && f.flight == nil && f.part == nil {
		return rf.ReadFrom(src)
	}
	return io.Copy(writerOnly{f}, src)
}

type writerOnly struct{ io.Writer }

// FlushError sends what was written so far.
func (f *fill) FlushError() error {
	if f.mode == undecided {
		f.WriteHeader(http.StatusOK)
	}
	switch {
	case f.w == nil || f.mode == swallow:
		return nil
	case f.mode == pumping:
		f.pump.flush()
		return nil
	}
	return http.NewResponseController(f.w).Flush()
}

// Flush is for handlers that do not look for FlushError.
func (f *fill) Flush() { _ = f.FlushError() }

func (f *fill) setKeep(keep bool) {
	f.mu.Lock()
	f.keep = keep
	f.mu.Unlock()
	if !keep && f.w != nil && f.x.r.Context().Err() != nil {
		f.cancel()
	}
}

func (f *fill) goesOn() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keep
}

// clientGone is called when the client has left: the fill goes on, for a
// bounded time, if it is of use to others.
func (f *fill) clientGone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.keep && (f.flight == nil || f.flight.following() == 0) {
		f.cancel()
		return
	}
	f.patrol = time.AfterFunc(time.Duration(f.x.h.FillTimeout), f.cancel)
}

// whole tells whether the body that came is the body that was announced.
func (f *fill) whole() bool {
	n := contentLength(f.header)
	if s, _, ok := parseContentRange(f.header["Content-Range"]); ok && f.res.Status == http.StatusPartialContent {
		n = s.length
	}
	return n < 0 || n == f.wrote
}

// trailers hands on what the next handler set after the head.
func (f *fill) trailers() {
	if f.w == nil || !f.written {
		return
	}
	dst := f.w.Header()
	var declared []string
	for _, line := range f.header["Trailer"] {
		declared = append(declared, strings.Split(line, ",")...)
	}
	for name, values := range f.header {
		if strings.HasPrefix(name, http.TrailerPrefix) || slices.ContainsFunc(declared, func(d string) bool {
			return strings.EqualFold(trimOWS(d), name)
		}) {
			dst[name] = values
		}
	}
}

package cache

import (
	"context"
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

	// onHead, if not nil, is called with the status once entry is made. If it
	// returns false, nothing is stored.
	onHead func(status int) bool

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
	if f.onHead != nil && !f.onHead(status) {
		f.entry, f.flight = nil, nil // the flight was for the entry alone
	}
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

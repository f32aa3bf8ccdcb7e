package cache

import (
	"net/http"
	"strconv"
	"strings"
)

// Rules are the options of a cache that decide what is stored and for how long.
// Durations are in milliseconds.
type Rules struct {
	// TTL of responses that say nothing themselves. Zero: heuristics only.
	TTL int64

	// StaleWhileRevalidate and StaleIfError apply where the origin says nothing.
	StaleWhileRevalidate, StaleIfError int64

	// Disconnected is how long after it expired a response may answer while
	// the origin cannot be reached.
	Disconnected int64

	// MaxBody is the size of the largest body that is stored, in bytes.
	MaxBody int64

	// ForceTTL, if not zero, replaces what responses say of their freshness.
	ForceTTL int64

	// SetCookie allows to store responses that set cookies.
	SetCookie bool

	// Statuses, if not empty, are the only ones that are stored.
	Statuses map[int]bool
}

// Response is a head that came from the origin.
type Response struct {
	Status int
	Header http.Header

	// Asked and Answered are when the request was sent and when the head
	// arrived, in Unix milliseconds.
	Asked, Answered int64
}

// Limits of guesses. RFC 9111, 4.2.2.
const (
	heuristicPart = 10               // of the time since Last-Modified
	heuristicMax  = 24 * 3600 * 1000 // ms

	// validatorKeep is how long a stale response with a validator is kept to
	// be validated, beyond all windows in which it may be used.
	validatorKeep = 3600 * 1000 // ms

	// maxKeep bounds how long anything is kept.
	maxKeep = 366 * 24 * 3600 * 1000 // ms
)

// Admit decides whether a response may be stored, RFC 9111, 3, and returns the
// entry without key, body and purge marks. It returns nil if it may not. vary
// are the names of the fields that it varies on.
func (r *Rules) Admit(q *Request, res *Response) (e *Entry, vary []string) {
	d, targeted := responseDirectives(res.Header)
	if q.Control.NoStore || !storableStatus(res.Status, &d) || !r.wanted(res.Status) || r.secret(res.Header) {
		return nil, nil
	}
	if d.Malformed || d.Private || d.NoStore && !d.MustUnderstand {
		return nil, nil
	}
	shared := d.Public || d.MustRevalidate || d.SMaxAge >= 0
	if q.Credentials && !shared {
		return nil, nil // RFC 9111, 3.5
	}
	vary, ok := parseVary(res.Header["Vary"])
	if !ok || !storableHead(res.Header) || r.MaxBody > 0 && contentLength(res.Header) > r.MaxBody {
		return nil, nil
	}
	lifetime, explicit := r.lifetime(res, &d, targeted)
	if !explicit && (q.Cookie || q.Credentials) {
		return nil, nil
	}
	e = &Entry{status: uint16(res.Status)}
	e.setFlags(&d, shared, explicit)
	r.setTimes(e, res, &d, lifetime)
	if !e.useful(res.Header) {
		return nil, nil
	}
	e.setHeader(res.Header, unstored(&d, res.Header))
	if own := res.Header[ownField]; len(own) > 0 {
		e.alter(func(r *rare) { r.own = strings.Join(own, ", ") })
	}
	return e, vary
}

func (r *Rules) wanted(status int) bool {
	return len(r.Statuses) == 0 || r.Statuses[status]
}

func (e *Entry) setFlags(d *Directives, shared, explicit bool) {
	if d.NoCache {
		e.flags |= flagValidate
	}
	if d.MustRevalidate || d.ProxyRevalidate {
		e.flags |= flagNoStale
	}
	if d.SMaxAge != absent {
		e.flags |= flagStrict
	}
	if shared {
		e.flags |= flagShared
	}
	if explicit {
		e.flags |= flagExplicit
	}
}

// setTimes works out all moments in an entry's life. RFC 9111, 4.2.3.
func (r *Rules) setTimes(e *Entry, res *Response, d *Directives, lifetime int64) {
	date, ok := ParseDate(first(res.Header["Date"]), res.Answered/1000)
	if !ok {
		date = res.Answered / 1000
	}
	apparent := max(0, res.Answered/1000-date) * 1000
	corrected := parseAge(res.Header["Age"])*1000 + res.Answered - res.Asked
	e.born = res.Answered - max(apparent, corrected)
	e.expires = e.born + lifetime
	r.setWindows(e, d, lifetime)
	e.keep = max(e.expires, e.swr, e.sie, e.lost)
	if validatable(res.Header) {
		e.keep = max(e.keep, res.Answered) + validatorKeep
	}
	e.keep = min(e.keep, res.Answered+maxKeep)
}

// setWindows works out until when the response may be used stale, and what for.
// The options apply only to responses that were to be fresh for a while: they
// never make a response reusable that the origin said nothing about. Of
// s-maxage, which forbids stale use like proxy-revalidate (RFC 9111, 5.2.2.10),
// the origin's own stale-* directives are the exception it asked for.
func (r *Rules) setWindows(e *Entry, d *Directives, lifetime int64) {
	if e.has(flagNoStale | flagValidate) {
		return
	}
	var o Rules
	if lifetime > 0 && !e.has(flagStrict) {
		o = *r
	}
	e.swr = e.after(window(d.StaleWhileRevalidate, o.StaleWhileRevalidate))
	e.sie = e.after(window(d.StaleIfError, o.StaleIfError))
	e.lost = e.after(o.Disconnected)
}

// after is the end of a window that begins when the entry expires; 0 if there is
// no such window, so that none opens if it is made to expire sooner.
func (e *Entry) after(window int64) int64 {
	if window <= 0 {
		return 0
	}
	return e.expires + window
}

// window is the directive's value in milliseconds if it is there, else the
// option's. An invalid value counts as none.
func window(directive, option int64) int64 {
	if directive == absent {
		return option
	}
	return 1000 * max(directive, 0)
}

// useful tells whether an entry could ever answer anything.
func (e *Entry) useful(h http.Header) bool {
	return e.expires > e.born || e.swr > e.expires || e.sie > e.expires || validatable(h)
}

func validatable(h http.Header) bool {
	return len(h["Etag"]) > 0 || len(h["Last-Modified"]) > 0
}

// lifetime returns the freshness lifetime in milliseconds and whether the
// origin gave it. RFC 9111, 4.2.1: the first of s-maxage, max-age, Expires.
func (r *Rules) lifetime(res *Response, d *Directives, targeted bool) (ms int64, explicit bool) {
	if r.ForceTTL > 0 && !d.NoCache && (heuristicStatus(res.Status) || d.Public) {
		return r.ForceTTL, d.SMaxAge != absent || d.MaxAge != absent || d.Public
	}
	for _, seconds := range [...]int64{d.SMaxAge, d.MaxAge} {
		if seconds != absent {
			return 1000 * max(seconds, 0), true
		}
	}
	if lines := res.Header["Expires"]; len(lines) > 0 && !targeted {
		return expiresIn(lines, res), true
	}
	if d.NoCache {
		return 0, true
	}
	if !heuristicStatus(res.Status) && !d.Public {
		return 0, false
	}
	if r.TTL > 0 {
		return r.TTL, d.Public
	}
	return guess(res), d.Public
}

// expiresIn is Expires minus Date. RFC 9111, 5.3: an invalid date, such as "0",
// is in the past, and so is one of several.
func expiresIn(lines []string, res *Response) int64 {
	now := res.Answered / 1000
	expires, ok := ParseDate(lines[0], now)
	if !ok || len(lines) > 1 {
		return 0
	}
	date, ok := ParseDate(first(res.Header["Date"]), now)
	if !ok {
		date = now
	}
	return 1000 * min(max(expires-date, 0), maxDelta)
}

// guess is the heuristic freshness lifetime: a tenth of the time since the
// representation changed. RFC 9111, 4.2.2.
func guess(res *Response) int64 {
	now := res.Answered / 1000
	modified, ok := ParseDate(first(res.Header["Last-Modified"]), now)
	if !ok {
		return 0
	}
	date, ok := ParseDate(first(res.Header["Date"]), now)
	if !ok {
		date = now
	}
	return min(1000*max(date-modified, 0)/heuristicPart, heuristicMax)
}

// heuristicStatus lists the status codes that may be stored without explicit
// freshness. RFC 9110, 15.1.
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// storableStatus tells whether the status is final and, where that matters,
// understood. RFC 9111, 3. Partial responses are stored by other means.
func storableStatus(status int, d *Directives) bool {
	if status < 200 || status > 599 || status == http.StatusPartialContent || status == http.StatusNotModified ||
		status == http.StatusRequestedRangeNotSatisfiable {
		return false
	}
	return !d.MustUnderstand || http.StatusText(status) != ""
}

// secret tells whether a response is one person's by its nature, or one that
// cannot be told from a fragment of something.
func (r *Rules) secret(h http.Header) bool {
	return len(h["Set-Cookie"]) > 0 && !r.SetCookie || len(h["Trailer"]) > 0 ||
		strings.HasPrefix(strings.ToLower(first(h["Content-Type"])), "text/event-stream")
}

// unstored returns which fields of a response are not stored: RFC 9111, 3.1,
// those that the directives name, and those that only we and the origin are
// concerned with.
func unstored(d *Directives, h http.Header) func(name string) bool {
	var listed []string
	listed = append(listed, d.Fields...)
	for _, line := range h["Connection"] {
		listed = append(listed, strings.Split(line, ",")...)
	}
	return func(name string) bool {
		switch name {
		case "Connection", "Keep-Alive", "Te", "Transfer-Encoding", "Upgrade",
			"Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
			"Age", ownField, "Cache-Status", "Cache-Group-Invalidation":
			return true
		}
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
		for _, l := range listed {
			if strings.EqualFold(trimOWS(l), name) {
				return true
			}
		}
		return false
	}
}

// contentLength is the announced length of the body, or -1.
func contentLength(h http.Header) int64 {
	n, err := strconv.ParseInt(first(h["Content-Length"]), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func first(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

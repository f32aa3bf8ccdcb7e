package cache

import "net/http"

// Action is what is to be done with a request.
type Action uint8

const (
	// Fetch: ask the origin; nothing that is stored helps.
	Fetch Action = iota

	// Serve: answer with the stored response.
	Serve

	// ServeAndRefresh: answer with the stored response, which is stale, and
	// ask the origin in the background. RFC 5861, 3.
	ServeAndRefresh

	// Validate: ask the origin whether the stored response still holds.
	Validate

	// Refuse: answer 504, as the request wants nothing but what is stored.
	// RFC 9111, 5.2.1.7.
	Refuse
)

// Why says for what reason the origin is asked. Its text is the value of the
// fwd parameter of Cache-Status. RFC 9211, 2.2.
type Why uint8

const (
	WhyURIMiss Why = iota
	WhyVaryMiss
	WhyStale
	WhyRequest
	WhyMiss
	WhyPartial
	WhyBypass
	WhyMethod
)

var whyText = [...]string{"uri-miss", "vary-miss", "stale", "request", "miss", "partial", "bypass", "method"}

func (w Why) String() string { return whyText[w] }

// Request is what Decide and the rules for storing need to know of a request.
type Request struct {
	// Method of the request.
	Method string

	// Control is its Cache-Control, with Pragma taken into account.
	Control Directives

	// Credentials: it carries Authorization, or was authenticated otherwise,
	// by its TLS connection's client certificate too.
	Credentials bool

	// Cookie: it carries cookies.
	Cookie bool

	// Range and If-Range as they came.
	Range, IfRange []string
}

// NewRequest reads what counts of a request's header.
func NewRequest(method string, h http.Header, identified bool) Request {
	q := Request{Method: method, Control: noDirectives}
	q.Credentials = identified || len(h["Authorization"]) > 0
	q.Cookie = len(h["Cookie"]) > 0
	q.Range, q.IfRange = h["Range"], h["If-Range"]
	if lines := h["Cache-Control"]; len(lines) > 0 {
		q.Control = ParseDirectives(lines)
	} else if lines := h["Pragma"]; len(lines) > 0 {
		// RFC 9111, 5.4: only in the absence of Cache-Control
		q.Control.NoCache = ParseDirectives(lines).NoCache
	}
	return q
}

// Verdict is the decision on one request.
type Verdict struct {
	Action Action
	Why    Why

	// Stale: the stored response may be used if the origin fails.
	Stale StaleUse
}

// StaleUse says on what failure a stale response may be used.
type StaleUse uint8

const (
	// StaleNever: not at all.
	StaleNever StaleUse = iota

	// StaleDisconnected: if the origin cannot be reached. RFC 9111, 4.2.4.
	StaleDisconnected

	// StaleOnError: also if it answers 500, 502, 503 or 504. RFC 5861, 4.
	StaleOnError
)

// Decide says what to do with a request, given what is stored for it (nil if
// nothing is) and the time in Unix milliseconds. It is the whole of RFC 9111, 4
// and alters nothing.
//
// soft tells that the stored response was purged softly: it counts as stale.
func Decide(q *Request, e *Entry, soft bool, now int64) Verdict {
	v := weigh(q, e, soft, now)
	if v.Action != Serve && e != nil && e.has(flagPartial) {
		v = Verdict{Action: Fetch, Why: WhyPartial} // a part is not worth validating
	}
	if q.Control.OnlyIfCached && v.Action != Serve && v.Action != ServeAndRefresh {
		v.Action = Refuse
	}
	return v
}

func weigh(q *Request, e *Entry, soft bool, now int64) Verdict {
	if e == nil || e.index() != nil || e.has(flagAbandon) || now >= e.keep {
		return Verdict{Action: Fetch, Why: WhyURIMiss}
	}
	if !reusable(q, e) {
		return Verdict{Action: Fetch, Why: WhyMiss}
	}
	if !sufficient(q, e) {
		return Verdict{Action: Fetch, Why: WhyPartial}
	}
	v := Verdict{Action: Validate, Why: WhyStale, Stale: staleUse(e, now)}
	if q.Control.NoStore {
		return Verdict{Action: Fetch, Why: WhyRequest} // RFC 9111, 5.2.1.5
	}
	if q.Control.NoCache {
		v.Why, v.Stale = WhyRequest, StaleNever // RFC 9111, 5.2.1.4
		return v
	}
	if e.has(flagValidate) {
		return v
	}
	fresh := now < e.expires && !soft
	if fresh && allowedBy(&q.Control, e, now) {
		return Verdict{Action: Serve}
	}
	if fresh {
		v.Why = WhyRequest
		return v
	}
	return stale(q, e, now, v)
}

// reusable tells whether the rules on credentials let the entry answer the
// request. RFC 9111, 3.5 binds responses to requests with Authorization; here
// it binds the requests too, so that what a user is sent does not depend on who
// came first.
func reusable(q *Request, e *Entry) bool {
	if q.Credentials && !e.has(flagShared) {
		return false
	}
	return !q.Cookie || e.has(flagExplicit)
}

// allowedBy tells whether a fresh response is fresh enough for the request.
// RFC 9111, 5.2.1.1 and 5.2.1.3. Invalid values are as strict as can be.
func allowedBy(c *Directives, e *Entry, now int64) bool {
	if c.MaxAge != absent && e.age(now) >= 1000*max(c.MaxAge, 0) {
		return false
	}
	return c.MinFresh == absent || c.MinFresh >= 0 && e.expires-now >= 1000*c.MinFresh
}

// stale decides on a stored response that is no longer fresh.
func stale(q *Request, e *Entry, now int64, v Verdict) Verdict {
	if e.has(flagNoStale) || q.Control.MinFresh != absent {
		return v
	}
	if c := &q.Control; c.MaxAge == absent || e.age(now) < 1000*max(c.MaxAge, 0) {
		// RFC 9111, 5.2.1.2
		asked := c.MaxStaleAny || c.MaxStale > 0 && now < e.expires+1000*c.MaxStale
		if asked && !e.has(flagStrict) {
			return Verdict{Action: Serve}
		}
		if now < e.swr {
			return Verdict{Action: ServeAndRefresh}
		}
	}
	return v
}

// staleUse says how an expired response may still help.
func staleUse(e *Entry, now int64) StaleUse {
	switch {
	case e.has(flagNoStale | flagValidate):
		return StaleNever
	case now < e.sie:
		return StaleOnError
	case now < e.lost:
		return StaleDisconnected
	}
	return StaleNever
}

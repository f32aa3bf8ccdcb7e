package jwtauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// revocation takes tokens back before they expire: one token by its id, or all
// tokens of a subject that were issued up to a time.
type revocation struct {
	issuer string
	jti    string // of one token; else
	sub    string // all tokens of this subject
	before int64  // issued at or before this time, Unix seconds
	until  int64  // when the tokens concerned have expired, Unix seconds
}

// member is the revocation as it stands in Redis and in storage, without its
// end: a JSON array.
func (r revocation) member() string {
	var v []any
	if r.jti != "" {
		v = []any{"jti", r.issuer, r.jti}
	} else {
		v = []any{"sub", r.issuer, r.sub, r.before}
	}
	b, _ := json.Marshal(v) // strings and an int64 cannot fail
	return string(b)
}

// message is the revocation as it is published: its end, a space, the member.
func (r revocation) message() string {
	return strconv.FormatInt(r.until, 10) + " " + r.member()
}

var errRevocation = errors.New("not a revocation")

func parseRevocationMessage(s string) (revocation, error) {
	end, member, ok := strings.Cut(s, " ")
	until, err := strconv.ParseInt(end, 10, 64)
	if !ok || err != nil {
		return revocation{}, errRevocation
	}
	return parseRevocation(member, until)
}

func parseRevocation(member string, until int64) (revocation, error) {
	var v []json.RawMessage
	var kind string
	r := revocation{until: until}
	if json.Unmarshal([]byte(member), &v) != nil || len(v) < 3 ||
		json.Unmarshal(v[0], &kind) != nil || json.Unmarshal(v[1], &r.issuer) != nil {
		return revocation{}, errRevocation
	}
	switch {
	case kind == "jti" && len(v) == 3 && json.Unmarshal(v[2], &r.jti) == nil && r.jti != "":
		return r, nil
	case kind == "sub" && len(v) == 4 && json.Unmarshal(v[2], &r.sub) == nil && r.sub != "" && json.Unmarshal(v[3], &r.before) == nil:
		return r, nil
	}
	return revocation{}, errRevocation
}

// check reports what is missing from a revocation.
func (r revocation) check(now time.Time) error {
	switch {
	case r.issuer == "":
		return errors.New("iss is missing")
	case (r.jti == "") == (r.sub == ""):
		return errors.New("one of jti and sub is needed")
	case r.until <= now.Unix():
		return fmt.Errorf("the tokens concerned expired at %d already", r.until)
	}
	return nil
}

// party is an issuer's token id or an issuer's subject.
type party struct{ issuer, name string }

// cutoff ends all tokens of a subject that were issued up to a time.
type cutoff struct{ before, until int64 }

// revocations is what this process knows to be revoked. Verification asks it on
// every request. It is safe for concurrent use.
type revocations struct {
	count atomic.Int64 // entries; zero spares the lock

	mu       sync.RWMutex
	tokens   map[party]int64 // until
	subjects map[party]cutoff

	// known is set once the list was read from where it is kept.
	known atomic.Bool
}

func newRevocations() *revocations {
	return &revocations{tokens: map[party]int64{}, subjects: map[party]cutoff{}}
}

// revoked reports whether the caller's token must not be accepted any more.
func (r *revocations) revoked(c *Caller) bool {
	if r.count.Load() == 0 {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if id := c.tokenID(); id != "" {
		if _, found := r.tokens[party{c.Identity.Issuer, id}]; found {
			return true
		}
	}
	subject := c.subject()
	cut, found := r.subjects[party{c.Identity.Issuer, subject}]
	// A token that does not say when it was issued may be an old one. One of the
	// same second as the cutoff counts as old, too. A cutoff may be any number:
	// it is not multiplied, which could overflow.
	return found && subject != "" && int64(c.issuedAt)/1000 <= cut.before
}

// add takes a revocation in and reports whether it says anything new.
func (r *revocations) add(rev revocation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.count.Store(int64(len(r.tokens) + len(r.subjects))) }()
	if rev.jti != "" {
		p := party{rev.issuer, rev.jti}
		if until, found := r.tokens[p]; found && until >= rev.until {
			return false
		}
		r.tokens[p] = rev.until
		return true
	}
	p := party{rev.issuer, rev.sub}
	old, found := r.subjects[p]
	if found && old.before >= rev.before && old.until >= rev.until {
		return false
	}
	r.subjects[p] = cutoff{max(old.before, rev.before), max(old.until, rev.until)}
	return true
}

// maxLeeway bounds the clock difference that a config may tolerate, and is how
// long a revocation is kept beyond the end of the tokens concerned.
const maxLeeway = 10 * time.Minute

// sweep forgets revocations of tokens that have expired.
func (r *revocations) sweep(now time.Time) {
	now = now.Add(-maxLeeway)
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, until := range r.tokens {
		if until < now.Unix() {
			delete(r.tokens, p)
		}
	}
	for p, cut := range r.subjects {
		if cut.until < now.Unix() {
			delete(r.subjects, p)
		}
	}
	r.count.Store(int64(len(r.tokens) + len(r.subjects)))
}

// all lists what is known.
func (r *revocations) all() []revocation {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]revocation, 0, len(r.tokens)+len(r.subjects))
	for p, until := range r.tokens {
		list = append(list, revocation{issuer: p.issuer, jti: p.name, until: until})
	}
	for p, cut := range r.subjects {
		list = append(list, revocation{issuer: p.issuer, sub: p.name, before: cut.before, until: cut.until})
	}
	return list
}

// sizes returns the number of revoked tokens and subjects.
func (r *revocations) sizes() (tokens, subjects int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.tokens), len(r.subjects)
}

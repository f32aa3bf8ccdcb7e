package jwtauth

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// Caller is who a verified token speaks for. It is immutable and shared by all
// requests with that token.
type Caller struct {
	// Identity is what other modules see.
	Identity gateway.Identity

	// ID is the user's id: the first of the user claims that the token has.
	ID string

	// Scopes of the token, from `scope` or `scp`.
	Scopes []string

	// Claims are all claims, with numbers as json.Number.
	Claims map[string]any

	boxedID                   any // ID, once, for placeholders
	subject, tokenID          string
	expires, before, issuedAt instant
}

// newCaller builds the caller out of verified claims, or nil if the token names
// no user.
func newCaller(r *registered, claims map[string]any, userClaims []string) *Caller {
	c := &Caller{
		Claims: claims, Scopes: r.Scope,
		subject: r.Subject, tokenID: r.ID,
		expires: r.Expires, before: r.Before, issuedAt: r.IssuedAt,
	}
	if len(r.Scope) == 0 {
		c.Scopes = r.SCP
	}
	for _, name := range userClaims {
		if c.ID = c.userID(name); c.ID != "" {
			break
		}
	}
	if c.ID == "" {
		return nil
	}
	c.boxedID = c.ID
	c.Identity = gateway.Identity{Issuer: r.Issuer, Subject: c.ID}
	return c
}

// userID takes a string or a number: a list or an object names nobody.
func (c *Caller) userID(path string) string {
	switch v, _ := c.claim(path); v := v.(type) {
	case string, json.Number:
		return claimText(v)
	default:
		return ""
	}
}

// claim finds a claim by name or, in nested objects, by a path with dots. A
// name that itself contains dots (https://example.com/role) is found first.
func (c *Caller) claim(path string) (any, bool) {
	return findClaim(c.Claims, path)
}

func findClaim(object map[string]any, path string) (any, bool) {
	if v, found := object[path]; found {
		return v, true
	}
	for i := 0; i < len(path); i++ {
		if path[i] != '.' {
			continue
		}
		inner, ok := object[path[:i]].(map[string]any)
		if !ok {
			continue
		}
		if v, found := findClaim(inner, path[i+1:]); found {
			return v, true
		}
	}
	return nil, false
}

// text is a claim as text, "" if there is none.
func (c *Caller) text(path string) string {
	v, _ := c.claim(path)
	return claimText(v)
}

// claimText writes strings, numbers and booleans as they are, lists of these
// with commas, and objects as JSON.
func claimText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case []any:
		if text, ok := listText(v); ok {
			return text
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

func listText(list []any) (string, bool) {
	words := make([]string, len(list))
	for i, v := range list {
		switch v.(type) {
		case string, json.Number, bool:
			words[i] = claimText(v)
		default:
			return "", false
		}
	}
	return strings.Join(words, ","), true
}

// timeReason checks the times of the token (RFC 7519, 4.1.4 to 4.1.6).
func (c *Caller) timeReason(now, leeway, maxLifetime instant) Reason {
	switch {
	case now >= c.expires+leeway:
		return ReasonExpired
	case now+leeway < c.before, now+leeway < c.issuedAt:
		return ReasonNotYet
	case maxLifetime > 0 && (c.issuedAt == 0 || c.expires-c.issuedAt > maxLifetime):
		return ReasonLifetime
	}
	return ReasonOK
}

// size estimates the memory of the caller in bytes, for the cache's bound.
func (c *Caller) size() int {
	n := 256 + len(c.ID) + len(c.tokenID) + 16*len(c.Scopes)
	for _, s := range c.Scopes {
		n += len(s)
	}
	return n + valueSize(c.Claims)
}

func valueSize(v any) int {
	switch v := v.(type) {
	case string:
		return 16 + len(v)
	case json.Number:
		return 16 + len(v)
	case []any:
		n := 24
		for _, e := range v {
			n += 16 + valueSize(e)
		}
		return n
	case map[string]any:
		// Go allocates map groups of 8 slots: 8 * (16 + 16) bytes and control.
		n := 48 + (len(v)+7)/8*300
		for name, e := range v {
			n += len(name) + valueSize(e)
		}
		return n
	default:
		return 0
	}
}

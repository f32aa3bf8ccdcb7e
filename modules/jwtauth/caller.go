package jwtauth

import (
	"encoding/binary"
	"strings"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// Caller is who a verified token speaks for, to one request.
type Caller struct {
	// Identity is what other modules see. Its subject is the user's id: the first
	// of the user claims that the token has.
	Identity gateway.Identity

	claims                    claimSet
	expires, before, issuedAt instant
}

// ID is the user's id.
func (c *Caller) ID() string { return c.Identity.Subject }

// userID is the first user claim that is a string or a number: a list or an
// object names nobody.
func userID(claims claimSet, userClaims []string) string {
	for _, name := range userClaims {
		c, _ := claims.find(name)
		if (c.kind == kindString || c.kind == kindNumber) && c.data != "" {
			return c.data
		}
	}
	return ""
}

// text is a claim as text, "" if there is none.
func (c *Caller) text(path string) string {
	v, _ := c.claims.find(path)
	return v.text()
}

// subject is sub, which need not be the user's id, or "".
func (c *Caller) subject() string { return c.text("sub") }

// tokenID is jti, or "".
func (c *Caller) tokenID() string { return c.text("jti") }

// hasScope looks for a scope among the words of a string (RFC 8693, 4.2) or the
// elements of a list, in scope or, if that is empty, in scp.
func (c *Caller) hasScope(scope string) bool {
	scopes, _ := c.claims.get("scope")
	if strings.TrimSpace(scopes.data) == "" {
		scopes, _ = c.claims.get("scp")
	}
	if scopes.kind == kindString {
		for word := range strings.FieldsSeq(scopes.data) {
			if word == scope {
				return true
			}
		}
		return false
	}
	for element := range scopes.elements() {
		if element.data == scope {
			return true
		}
	}
	return false
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

// record is a verified token as it is kept: its issuer, its times and its
// claims, in one string without pointers.
type record string

// recordHead is the size of what stands before the claims.
const recordHead = 2 + 3*8

func newRecord(issuer int, r *registered, claims map[string]any) record {
	b := make([]byte, 0, 512)
	b = binary.BigEndian.AppendUint16(b, uint16(issuer))
	for _, t := range []instant{r.Expires, r.Before, r.IssuedAt} {
		b = binary.BigEndian.AppendUint64(b, uint64(t))
	}
	return record(appendMembers(b, claims))
}

// issuer is the index among the verifier's.
func (r record) issuer() int { return int(r[0])<<8 | int(r[1]) }

func (r record) expires() instant { return r.instant(2) }

func (r record) instant(at int) (t instant) {
	for _, c := range []byte(r[at : at+8]) {
		t = t<<8 | instant(c)
	}
	return t
}

func (r record) claims() claimSet { return claimSet(r[recordHead:]) }

// caller unpacks the record. It copies no text.
func (r record) caller(issuer string, userClaims []string) *Caller {
	return &Caller{
		Identity: gateway.Identity{Issuer: issuer, Subject: userID(r.claims(), userClaims)},
		claims:   r.claims(),
		expires:  r.expires(), before: r.instant(10), issuedAt: r.instant(18),
	}
}

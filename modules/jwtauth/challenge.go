package jwtauth

import (
	"slices"
	"strings"
)

// challenges holds the WWW-Authenticate value for every reason (RFC 6750, 3),
// made once: nothing in it depends on the request. Reasons without a challenge
// have "".
type challenges [numReasons]string

// newChallenges makes the challenges of one handler. Metadata is the URL of the
// protected resource metadata (RFC 9728, 5.1), or "".
func newChallenges(realm, metadata string, scopes ScopeRule) *challenges {
	c := new(challenges)
	for reason := range numReasons {
		switch reason.Status() {
		case 400, 401, 403:
			c[reason] = challenge(reason, realm, metadata, scopes)
		}
	}
	return c
}

func challenge(reason Reason, realm, metadata string, scopes ScopeRule) string {
	var b strings.Builder
	b.WriteString("Bearer realm=" + quote(realm))
	text := reasonTexts[reason]
	if text.code != "" {
		b.WriteString(", error=" + quote(text.code) + ", error_description=" + quote(text.description))
	}
	if needed := slices.Concat(scopes.All, scopes.Any); len(needed) > 0 && (reason == ReasonScope || reason == ReasonMissing) {
		b.WriteString(", scope=" + quote(strings.Join(needed, " ")))
	}
	if metadata != "" {
		b.WriteString(", resource_metadata=" + quote(metadata))
	}
	return b.String()
}

// quote writes a quoted-string (RFC 9110, 5.6.4). Control characters are left
// out.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c != 0x7f:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

package cache

import (
	"strings"
)

// maxDelta is what delta-seconds that are too large to hold are taken for.
// RFC 9111, 1.2.2.
const maxDelta = 1 << 31

// absent is a delta-seconds directive that was not given; invalid is one whose
// value is none. RFC 9111, 4.2.1: invalid freshness information means stale.
const (
	absent  int64 = -1
	invalid int64 = -2
)

// Directives is a parsed Cache-Control field, of a request or of a response.
// The zero value must not be used: noDirectives has nothing set.
type Directives struct {
	NoStore         bool
	NoCache         bool // without a list of fields
	Private         bool // without a list of fields
	Public          bool
	MustRevalidate  bool
	ProxyRevalidate bool
	MustUnderstand  bool
	OnlyIfCached    bool

	// MaxStaleAny is max-stale without a value: however stale.
	MaxStaleAny bool

	// Malformed is set if the field cannot be read to its end, so that what it
	// forbids is unknown.
	Malformed bool

	// Seconds; absent or invalid if negative.
	MaxAge, SMaxAge, StaleWhileRevalidate, StaleIfError, MaxStale, MinFresh int64

	// Fields are the field names listed by no-cache="…" and private="…", which
	// must not be stored. RFC 9111, 5.2.2.4 and 5.2.2.7.
	Fields []string
}

var noDirectives = Directives{
	MaxAge: absent, SMaxAge: absent, StaleWhileRevalidate: absent,
	StaleIfError: absent, MaxStale: absent, MinFresh: absent,
}

// ParseDirectives reads the lines of a Cache-Control field. RFC 9111, 5.2.
// Unknown directives are ignored; of directives that are repeated the first
// counts (RFC 9111, 4.2.1).
func ParseDirectives(lines []string) Directives {
	d := noDirectives
	for _, line := range lines {
		d.parse(line)
	}
	return d
}

func (d *Directives) parse(s string) {
	for s != "" {
		var name, value string
		var quoted, hasValue, ok bool
		name, value, quoted, hasValue, s, ok = nextDirective(s)
		if !ok {
			d.Malformed = true
			return
		}
		if name != "" {
			d.set(name, value, quoted, hasValue)
		}
	}
}

// nextDirective cuts one directive off a list. It reports false if a quoted
// string does not end: where the next directive begins is then unknown.
func nextDirective(s string) (name, value string, quoted, hasValue bool, rest string, ok bool) {
	i := strings.IndexAny(s, ",=")
	if i < 0 {
		return trimOWS(s), "", false, false, "", true
	}
	if s[i] == ',' {
		return trimOWS(s[:i]), "", false, false, s[i+1:], true
	}
	name = strings.TrimLeft(s[:i], " \t") // a space before "=" is kept: it makes the name another one
	s = s[i+1:]
	if s != "" && s[0] == '"' {
		value, rest, ok = quotedString(s)
		if !ok {
			return "", "", false, false, "", false
		}
		junk, after, _ := strings.Cut(rest, ",")
		return name, value, trimOWS(junk) == "", true, after, true
	}
	value, rest, _ = strings.Cut(s, ",")
	if strings.IndexByte(value, '"') >= 0 {
		return "", "", false, false, "", false
	}
	return name, strings.TrimRight(value, " \t"), false, true, rest, true
}

// quotedString reads a quoted-string at the start of s. RFC 9110, 5.6.4.
func quotedString(s string) (value, rest string, ok bool) {
	plain := true
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			plain = false
			i++
		case '"':
			value = s[1:i]
			if !plain {
				value = unescape(value)
			}
			return value, s[i+1:], true
		}
	}
	return "", "", false
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (d *Directives) set(name, value string, quoted, hasValue bool) {
	switch strings.ToLower(trimOWS(name)) {
	case "no-store":
		d.NoStore = true
	case "no-cache":
		d.NoCache = d.NoCache || !d.listFields(value, quoted)
	case "private":
		d.Private = d.Private || !d.listFields(value, quoted)
	case "public":
		d.Public = true
	case "must-revalidate":
		d.MustRevalidate = true
	case "proxy-revalidate":
		d.ProxyRevalidate = true
	case "must-understand":
		d.MustUnderstand = true
	case "only-if-cached":
		d.OnlyIfCached = true
	case "max-age":
		setDelta(&d.MaxAge, name, value)
	case "s-maxage":
		setDelta(&d.SMaxAge, name, value)
	case "stale-while-revalidate":
		setDelta(&d.StaleWhileRevalidate, name, value)
	case "stale-if-error":
		setDelta(&d.StaleIfError, name, value)
	case "min-fresh":
		setDelta(&d.MinFresh, name, value)
	case "max-stale":
		if !hasValue {
			d.MaxStaleAny = true
			return
		}
		setDelta(&d.MaxStale, name, value)
	}
}

// listFields notes the field names of a qualified no-cache or private and
// reports whether it was one. Anything doubtful counts as unqualified, which
// forbids more.
func (d *Directives) listFields(value string, quoted bool) bool {
	if !quoted {
		return false
	}
	n := len(d.Fields)
	for name := range strings.SplitSeq(value, ",") {
		if name = trimOWS(name); isToken(name) {
			d.Fields = append(d.Fields, name)
		}
	}
	return len(d.Fields) > n
}

func setDelta(to *int64, name, value string) {
	if *to != absent {
		return
	}
	if n, ok := parseDelta(value); ok && name == trimOWS(name) {
		*to = n
		return
	}
	*to = invalid
}

// parseDelta reads delta-seconds: digits only. RFC 9111, 1.2.2.
func parseDelta(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n > maxDelta {
			n = maxDelta
		}
	}
	return n, true
}

// parseAge reads an Age field. RFC 9111, 5.1: of several values the first
// counts, and one that is not delta-seconds is ignored.
func parseAge(lines []string) int64 {
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	n, ok := parseDelta(trimOWS(first))
	if !ok {
		return 0
	}
	return n
}

func trimOWS(s string) string { return strings.Trim(s, " \t") }

// isToken tells whether s is a token. RFC 9110, 5.6.2.
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return true
}

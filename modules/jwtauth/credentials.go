package jwtauth

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// Source is a place of a request where a token may be.
type Source struct {
	// In is "header", "cookie" or "query".
	In string `json:"in"`

	// Name of the header field, cookie or query parameter.
	Name string `json:"name"`

	// Scheme that precedes the token in a header field, such as Bearer. Default:
	// none; the field then holds the bare token (a "Bearer " is skipped).
	Scheme string `json:"scheme,omitempty"`
}

// defaultSources are used if none are configured (RFC 6750, 2.1).
var defaultSources = []Source{{In: "header", Name: "Authorization", Scheme: "Bearer"}}

func (s *Source) check() error {
	switch s.In {
	case "header":
		s.Name = textproto.CanonicalMIMEHeaderKey(s.Name)
	case "cookie", "query":
		if s.Scheme != "" {
			return fmt.Errorf("from %s %s: a scheme is for headers only", s.In, s.Name)
		}
	default:
		return fmt.Errorf("from %q: must be header, cookie or query", s.In)
	}
	if !isToken(s.Name) {
		return fmt.Errorf("from %s: %q is not a valid name", s.In, s.Name)
	}
	return nil
}

// Fields are the header fields of a request; http.Header is one.
type Fields interface {
	// Values returns all values of a field.
	Values(name string) []string
}

var _ Fields = http.Header(nil)

// credentials looks for a token in every place where one may be. More than one
// is ambiguous (RFC 6750, 2): which of them other parties look at is unknown.
func credentials(sources []Source, fields Fields, rawQuery string) (token string, at *Source, reason Reason) {
	count := 0
	take := func(found string, s *Source) {
		token, at, count = found, s, count+1
	}
	for i := range sources {
		s := &sources[i]
		switch s.In {
		case "header":
			lines := fields.Values(s.Name)
			for _, value := range lines {
				if found, ok := s.fromField(value); ok {
					take(found, s)
					count += len(lines) - 1 // one token has one line, RFC 9110, 5.3
				}
			}
		case "cookie":
			for _, line := range fields.Values("Cookie") {
				eachCookie(line, s.Name, func(found string) { take(found, s) })
			}
		case "query":
			eachParameter(rawQuery, s.Name, func(found string) { take(found, s) })
		}
	}
	switch count {
	case 0:
		return "", nil, ReasonMissing
	case 1:
		return token, at, ReasonOK
	default:
		return "", nil, ReasonAmbiguous
	}
}

// fromField takes the token out of a header field. A field with another scheme
// holds none.
func (s *Source) fromField(value string) (string, bool) {
	scheme := s.Scheme
	if scheme == "" {
		scheme = "Bearer"
	}
	if len(value) >= len(scheme) && strings.EqualFold(value[:len(scheme)], scheme) {
		rest := value[len(scheme):]
		if rest == "" || rest[0] == ' ' || rest[0] == '\t' { // a tab makes it malformed
			return strings.Trim(rest, " "), true
		}
	}
	return value, s.Scheme == ""
}

// eachCookie calls take with the value of every cookie of that name (RFC 6265,
// 4.2.1).
func eachCookie(line, name string, take func(string)) {
	for part := range strings.SplitSeq(line, ";") {
		n, value, ok := strings.Cut(strings.Trim(part, " \t"), "=")
		if ok && n == name {
			if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			take(value)
		}
	}
}

// eachParameter calls take with the value of every query parameter of that
// name, however it is escaped.
func eachParameter(rawQuery, name string, take func(string)) {
	for part := range strings.SplitSeq(rawQuery, "&") {
		n, value, _ := strings.Cut(part, "=")
		if n == name || unescaped(n) == name {
			take(unescaped(value))
		}
	}
}

// unescaped leaves what cannot be unescaped as it is: it will not be a token.
func unescaped(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// isToken reports whether s is a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

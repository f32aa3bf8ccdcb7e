package jwtauth

import (
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
)

// HeaderRule carries a claim to the upstream in a header field.
type HeaderRule struct {
	// Name of the header field. Whatever a client sends under this name, in any
	// spelling, is removed.
	Name string `json:"name"`

	// Claim whose value it gets: a name, or a path with dots. Lists are written
	// with commas. Without the claim there is no field.
	Claim string `json:"claim"`
}

// headerRules are all mappings of one handler.
type headerRules []HeaderRule

// forbiddenHeaders would break the request or the authentication behind.
var forbiddenHeaders = []string{
	"Authorization", "Connection", "Content-Length", "Cookie", "Expect", "Host", "Keep-Alive",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

func (rules headerRules) check() error {
	for i := range rules {
		r := &rules[i]
		if !isToken(r.Name) {
			return fmt.Errorf("header %q: not a valid field name", r.Name)
		}
		if r.Claim == "" {
			return fmt.Errorf("header %s: the claim is missing", r.Name)
		}
		r.Name = textproto.CanonicalMIMEHeaderKey(r.Name)
		for _, name := range forbiddenHeaders {
			if sameName(name, r.Name) {
				return fmt.Errorf("header %s: this field cannot carry a claim", r.Name)
			}
		}
		for _, earlier := range rules[:i] {
			if sameName(earlier.Name, r.Name) {
				return fmt.Errorf("header %s: given twice (as %s)", r.Name, earlier.Name)
			}
		}
	}
	return nil
}

// strip removes the mapped fields from what the client sent, in every spelling
// that some server behind may take for the same: other case, and "_" or "."
// for "-" as in CGI variables. It also removes them from Connection, where a
// client could nominate them for removal on the way (RFC 9110, 7.6.1).
func (rules headerRules) strip(r *http.Request) {
	if len(rules) == 0 {
		return
	}
	rules.stripFrom(r.Header)
	rules.stripTrailers(r)
	if nominated := r.Header["Connection"]; rules.nominated(nominated) {
		rules.denominate(r.Header, nominated)
	}
}

// stripTrailers removes the mapped fields from the trailers, too: those that are
// announced now, and for a body of unknown length all that come after it, which
// net/http adds to the same map.
func (rules headerRules) stripTrailers(r *http.Request) {
	rules.stripFrom(r.Trailer)
	if r.ContentLength < 0 && r.Body != nil && r.Trailer != nil {
		r.Body = &trailerGuard{ReadCloser: r.Body, trailer: r.Trailer, rules: rules}
	}
}

// trailerGuard strips trailers when the body has ended, before its reader knows.
type trailerGuard struct {
	io.ReadCloser
	trailer http.Header
	rules   headerRules
}

func (g *trailerGuard) Read(p []byte) (int, error) {
	n, err := g.ReadCloser.Read(p)
	if err != nil {
		g.rules.stripFrom(g.trailer)
	}
	return n, err
}

func (rules headerRules) stripFrom(h http.Header) {
	for name := range h {
		if rules.match(name) {
			delete(h, name)
		}
	}
}

func (rules headerRules) match(name string) bool {
	for i := range rules {
		if sameName(rules[i].Name, name) {
			return true
		}
	}
	return false
}

func (rules headerRules) nominated(connection []string) bool {
	for _, line := range connection {
		for token := range strings.SplitSeq(line, ",") {
			if rules.match(strings.Trim(token, " \t")) {
				return true
			}
		}
	}
	return false
}

func (rules headerRules) denominate(h http.Header, connection []string) {
	var kept []string
	for _, line := range connection {
		for token := range strings.SplitSeq(line, ",") {
			if token = strings.Trim(token, " \t"); token != "" && !rules.match(token) {
				kept = append(kept, token)
			}
		}
	}
	if len(kept) == 0 {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}

// sameName compares field names without regard to case, and with "-", "_" and
// "." for the same.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldName(a[i]) != foldName(b[i]) {
			return false
		}
	}
	return true
}

func foldName(c byte) byte {
	switch {
	case c == '_' || c == '.':
		return '-'
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	default:
		return c
	}
}

// values are the field values for a caller, one per rule, "" for none. A claim
// that a header cannot carry as it is makes the token unacceptable: a name with
// a line break or a space around it would be another name on the other side.
func (rules headerRules) values(c *Caller) ([]string, Reason) {
	if len(rules) == 0 {
		return nil, ReasonOK
	}
	values := make([]string, len(rules))
	for i := range rules {
		values[i] = c.text(rules[i].Claim)
		if !isFieldValue(values[i]) {
			return nil, ReasonClaims
		}
	}
	return values, ReasonOK
}

// isFieldValue reports whether a header field carries s unchanged (RFC 9110,
// 5.5).
func isFieldValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s == "" || s[0] != ' ' && s[len(s)-1] != ' '
}

// set writes the values into the request. They share one array; a slice of one
// each, so that nobody's append reaches a neighbour.
func (rules headerRules) set(h http.Header, values []string) {
	for i := range values {
		if values[i] != "" {
			h[rules[i].Name] = values[i : i+1 : i+1]
		}
	}
}

package backend

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// The limits of a user's fields, in characters and in years.
const (
	MaxEmail    = 254 // RFC 5321, 4.5.3.1.3 less the brackets
	MinPassword = 8
	MaxPassword = 256
	MinName     = 2
	MaxName     = 50
	MinAge      = 13
	MaxAge      = 120
	maxLink     = 2048
)

// checker collects what is wrong. Its methods return the normal form of a value.
type checker struct{ wrong []FieldError }

func (c *checker) add(field, message string) {
	c.wrong = append(c.wrong, FieldError{Field: field, Message: message})
}

func (c *checker) email(field, s string) string {
	n, ok := NormalizeEmail(s)
	if !ok {
		c.add(field, "must be an email address")
	}
	return n
}

// password accepts what RFC 8265's OpaqueString profile accepts, so that the
// same password typed on two keyboards hashes alike.
func (c *checker) password(field, s string) string {
	n, ok := NormalizePassword(s)
	switch length := utf8.RuneCountInString(n); {
	case !ok:
		c.add(field, "must not hold control characters")
	case length < MinPassword || length > MaxPassword:
		c.add(field, "must have 8 to 256 characters")
	case strings.TrimSpace(n) == "":
		c.add(field, "must not be only spaces")
	}
	return n
}

func (c *checker) name(field, s string) string {
	n := norm.NFC.String(strings.TrimSpace(s))
	switch length := utf8.RuneCountInString(n); {
	case !printable(n, false):
		c.add(field, "must hold only printable characters")
	case length >= MinName && !strings.ContainsFunc(n, unicode.IsLetter):
		c.add(field, "must hold a letter")
	case length < MinName || length > MaxName:
		c.add(field, "must have 2 to 50 characters")
	}
	return n
}

func (c *checker) age(field string, age *int) {
	if age != nil && (*age < MinAge || *age > MaxAge) {
		c.add(field, "must be from 13 to 120")
	}
}

func (c *checker) role(field string, r Role) Role {
	if r != RoleUser && r != RoleAdmin {
		c.add(field, "must be user or admin")
	}
	return r
}

func (c *checker) plan(field string, p Plan) Plan {
	if p != PlanFree && p != PlanPro {
		c.add(field, "must be free or pro")
	}
	return p
}

func (c *checker) text(field, s string, limit int) string {
	n := norm.NFC.String(strings.TrimSpace(s))
	if !printable(n, true) {
		c.add(field, "must hold only printable characters")
	} else if utf8.RuneCountInString(n) > limit {
		c.add(field, "is too long")
	}
	return n
}

// link accepts web addresses only: a page that shows one must not become a
// javascript: or data: link.
func (c *checker) link(field, s string) string {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxLink || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		c.add(field, "must be an http or https address")
	}
	return s
}

// printable reports whether s has no control and no invisible formatting
// characters, such as those that turn the direction of writing around. The two
// joiners are allowed: Persian, Hindi and many emoji cannot be written without.
func printable(s string, lines bool) bool {
	for _, r := range s {
		switch {
		case lines && (r == '\n' || r == '\t'), r == '\u200c', r == '\u200d':
		case r == utf8.RuneError, unicode.Is(unicode.C, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return false
		}
	}
	return true
}

// CheckPassword returns the form of a new password that is hashed, and what is
// wrong with it.
func CheckPassword(s string) (normal string, wrong []FieldError) {
	var c checker
	normal = c.password("password", s)
	return normal, c.wrong
}

// NormalizePassword returns the form of a password that is hashed; ok is false
// for one that no user can have.
func NormalizePassword(s string) (normal string, ok bool) {
	if len(s) > 4*MaxPassword || !utf8.ValidString(s) {
		return s, false
	}
	n, err := precis.OpaqueString.String(s)
	return n, err == nil
}

// NormalizeEmail returns the form of an address under which an account is
// stored: lower case, the domain in its ASCII form. ok is false for anything
// that is not a bare mailbox of RFC 5321 with a dot-atom local part, such as
// a display name, a quoted local part, an address literal or letters that only
// look like ASCII.
func NormalizeEmail(s string) (normal string, ok bool) {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || len(s) > MaxEmail {
		return s, false
	}
	local, host := strings.ToLower(s[:at]), s[at+1:]
	domain, err := idna.Lookup.ToASCII(host)
	if err != nil || !dotAtom(local) || !hostname(domain) {
		return s, false
	}
	normal = local + "@" + domain
	return normal, len(normal) <= MaxEmail
}

// Printable reports whether s is text without control characters, such as may be
// searched for.
func Printable(s string) bool { return printable(s, false) }

// dotAtom implements RFC 5322, 3.2.3, within the 64 octets of RFC 5321.
func dotAtom(s string) bool {
	if len(s) > 64 {
		return false
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !isAtext(atom[i]) {
				return false
			}
		}
	}
	return true
}

func isAtext(b byte) bool {
	return 'a' <= b && b <= 'z' || '0' <= b && b <= '9' || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", b) >= 0
}

// hostname accepts a lower-case domain of at least two labels whose last one is
// not a number.
func hostname(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 || len(s) > 253 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for i := range len(l) {
			if b := l[i]; (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != ""
}

package validate

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// textFormats are formats of which the library takes texts that are none:
// "@example.com", "+1.2.3.4", a URI with spaces.
var textFormats = map[string]func(string) bool{
	"email": isEmail, "hostname": isHostname, "ipv4": isIPv4,
	"uri":           func(s string) bool { return isURIReference(s) && hasScheme(s) },
	"uri-reference": isURIReference,
	"duration":      durations.MatchString,
	"idn-hostname":  isInternationalHostname, "idn-email": isInternationalEmail,
	"uri-template": uriTemplates.MatchString,
}

func registerTextFormats(c *jsonschema.Compiler) {
	for name, ok := range textFormats {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(v any) error {
			if s, isText := v.(string); isText && !ok(s) {
				return errFormat
			}
			return nil
		}})
	}
}

// isEmail follows the Mailbox of RFC 5321, 4.1.2.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > 64 || len(s) > 254 {
		return false
	}
	local, domain := s[:at], s[at+1:]
	if !isDotString(local) && !isQuotedString(local) {
		return false
	}
	if literal, ok := strings.CutPrefix(domain, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		if v6, is6 := strings.CutPrefix(literal, "IPv6:"); is6 {
			addr, err := netip.ParseAddr(v6)
			return ok && err == nil && addr.Is6()
		}
		return ok && isIPv4(literal)
	}
	return isHostname(domain)
}

func isDotString(s string) bool {
	dot := true // none may be at an end or beside another
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '.' && dot, c != '.' && !isAtom(c):
			return false
		}
		dot = c == '.'
	}
	return !dot
}

func isAtom(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isQuotedString(s string) bool {
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' {
		return false
	}
	s = s[1 : len(s)-1]
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			if i == len(s) {
				return false
			}
		case '"':
			return false
		}
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// isHostname follows RFC 1123, 2.1, and for labels that are encoded RFC 5891.
func isHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

func isLabel(label string) bool {
	n := len(label)
	if n == 0 || n > 63 || label[0] == '-' || label[n-1] == '-' {
		return false
	}
	for i := range n {
		if c := label[i]; !isAlphanumeric(c) && c != '-' {
			return false
		}
	}
	if n < 4 || label[2:4] != "--" {
		return true
	}
	if !strings.EqualFold(label[:2], "xn") {
		return false
	}
	return isInternationalHostname(label)
}

func isIPv4(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is4()
}

// isURIReference follows RFC 3986, 4.1, which allows fewer characters than
// url.Parse does.
func isURIReference(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isAlphanumeric(c), strings.IndexByte("-._~:/?#[]@!$&'()*+,;=", c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			i += 2
		default:
			return false
		}
	}
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	authority := ""
	if _, rest, ok := strings.Cut(s, "//"); ok && (u.Host != "" || u.User != nil) {
		authority, _, _ = strings.Cut(rest, "/")
	}
	outside := strings.Replace(s, u.Host, "", 1) // an IPv6 address has brackets
	return !strings.ContainsAny(outside, "[]") && strings.Count(authority, "@") <= 1 && strings.Count(s, "#") <= 1
}

func hasScheme(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	return ok && !strings.ContainsAny(scheme, "/?#") && scheme != ""
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// durations follows RFC 3339, appendix A: no unit is left out in between.
var durations = regexp.MustCompile(`^P(?:\d+W|` + dateDuration + `(?:T` + timeDuration + `)?|T` + timeDuration + `)$`)

const (
	dateDuration = `(?:\d+Y(?:\d+M(?:\d+D)?)?|\d+M(?:\d+D)?|\d+D)`
	timeDuration = `(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S)`
)

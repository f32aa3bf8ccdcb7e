package validate

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// internationalized follows RFC 5891 to 5893 but for the rules that look at what
// stands around a character.
var internationalized = idna.New(
	idna.ValidateLabels(true), idna.CheckJoiners(true), idna.CheckHyphens(true),
	idna.StrictDomainName(true), idna.BidiRule(), idna.VerifyDNSLength(true),
)

// fullStops are the dots of RFC 3490, 3.1.
var fullStops = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".")

// isInternationalHostname tells whether a host name is one by IDNA, in Unicode or
// encoded (RFC 5890, 2.3.2.3).
func isInternationalHostname(s string) bool {
	s = fullStops.Replace(s)
	if s == "" || strings.HasSuffix(s, ".") {
		return false
	}
	ascii, err := internationalized.ToASCII(s)
	if err != nil || len(ascii) > 253 {
		return false
	}
	decoded, err := internationalized.ToUnicode(ascii)
	if err != nil {
		return false
	}
	// What decodes to something must be what that is encoded as.
	again, err := internationalized.ToASCII(decoded)
	if err != nil || !strings.EqualFold(again, ascii) {
		return false
	}
	for label := range strings.SplitSeq(decoded, ".") {
		if !fitsContext([]rune(label)) {
			return false
		}
	}
	return true
}

// fitsContext follows RFC 5892, 2.6 and appendix A.3 to A.9.
func fitsContext(label []rune) bool {
	at := func(i int) rune {
		if i < 0 || i >= len(label) {
			return 0
		}
		return label[i]
	}
	for i, r := range label {
		ok := true
		switch {
		case r == '\u00b7':
			ok = at(i-1) == 'l' && at(i+1) == 'l'
		case r == '\u0375':
			ok = unicode.Is(unicode.Greek, at(i+1))
		case r == '\u05f3' || r == '\u05f4':
			ok = unicode.Is(unicode.Hebrew, at(i-1))
		case r == '\u30fb':
			ok = slices.ContainsFunc(label, isJapanese)
		case r >= '\u0660' && r <= '\u0669':
			ok = !slices.ContainsFunc(label, func(r rune) bool { return r >= '\u06f0' && r <= '\u06f9' })
		case slices.Contains(disallowed, r):
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

// disallowed are the exceptions of RFC 5892, 2.6.
var disallowed = []rune{
	'\u0640', '\u07fa', '\u302e', '\u302f', '\u3031', '\u3032', '\u3033', '\u3034', '\u3035', '\u303b',
}

func isJapanese(r rune) bool {
	return r != '\u30fb' && unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han)
}

// isInternationalEmail follows the Mailbox of RFC 6531, 3.3.
func isInternationalEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 {
		return false
	}
	// A character beyond ASCII may stand wherever a letter may.
	local := strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return 'a'
		}
		return r
	}, s[:at])
	return len(s[:at]) <= 64 && len(s) <= 254 && isEmail(local+"@example.com") &&
		(isInternationalHostname(s[at+1:]) || isEmail("a@"+s[at+1:]))
}

// uriTemplates follows RFC 6570, section 2, with the apostrophe of erratum 6937.
var uriTemplates = regexp.MustCompile(`^(?:` + templateLiteral + `|\{[+#./;?&=,!@|]?` + templateVariable + `(?:,` + templateVariable + `)*\})*$`)

const (
	templateLiteral   = `[!#$&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~\x{a0}-\x{10fffd}]|%[0-9A-Fa-f]{2}`
	templateCharacter = `(?:[0-9A-Z_a-z]|%[0-9A-Fa-f]{2})`
	templateVariable  = templateCharacter + `(?:\.?` + templateCharacter + `)*(?:\*|:[1-9][0-9]{0,3})?`
)

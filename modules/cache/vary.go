package cache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxVaryNames bounds the length of a Vary list that is obeyed; a longer one
// means that the response is not stored.
const maxVaryNames = 16

// parseVary returns the canonical, sorted names of a Vary field. It reports
// false if the response must not be reused: for "*" and for what is no list of
// names. RFC 9111, 4.1.
func parseVary(lines []string) (names []string, ok bool) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			name = trimOWS(name)
			if name == "" {
				continue
			}
			if name == "*" || !isToken(name) {
				return nil, false
			}
			names = append(names, http.CanonicalHeaderKey(name))
		}
	}
	if len(names) > maxVaryNames {
		return nil, false
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// appendVariant appends what tells variants apart: for each name that a
// response varies on, the normalised value of the request.
func appendVariant(dst []byte, names []string, h http.Header) []byte {
	for _, name := range names {
		dst = append(dst, '\n')
		dst = append(dst, name...)
		lines, present := h[name]
		if !present {
			continue // absent differs from empty
		}
		dst = append(dst, ':')
		dst = appendNormalised(dst, name, lines)
	}
	return dst
}

// appendNormalised appends a selecting field in a form that is the same for
// values of the same meaning. RFC 9111, 4.1.
func appendNormalised(dst []byte, name string, lines []string) []byte {
	switch name {
	case "Accept-Encoding", "Accept-Language":
		return appendPreferences(dst, lines)
	case "Authorization", "Cookie", "User-Agent", "Referer", "Origin":
		// not lists: a comma in them is not a separator. Several lines have
		// their lengths, so that none can pass for another field
		if len(lines) == 1 {
			return append(dst, lines[0]...)
		}
		for _, line := range lines {
			dst = appendPart(dst, 'l', line)
		}
		return dst
	}
	return appendList(dst, lines)
}

// appendList joins lines and drops the space around commas.
func appendList(dst []byte, lines []string) []byte {
	first := true
	for _, line := range lines {
		for line != "" || first {
			var part string
			part, line = cutComma(line)
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(dst, trimOWS(part)...)
		}
	}
	return dst
}

// cutComma cuts s at the first comma that is not within quotes.
func cutComma(s string) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return s[:i], s[i+1:]
			}
		}
	}
	return s, ""
}

// preference is one member of an Accept-Language or Accept-Encoding list.
type preference struct {
	name   string
	weight int // thousandths
}

// parsePreferences reads a list with weights. What does not parse as a weight
// counts as 1: the member then differs from others all the same.
func parsePreferences(lines []string) []preference {
	var list []preference
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(member, ";")
			if name = strings.ToLower(trimOWS(name)); name != "" {
				list = append(list, preference{name, parseWeight(params)})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b preference) int {
		if a.weight != b.weight {
			return b.weight - a.weight
		}
		return strings.Compare(a.name, b.name)
	})
	return list
}

// parseWeight reads ";q=0.5" into thousandths. RFC 9110, 12.4.2.
func parseWeight(params string) int {
	for p := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(trimOWS(k), "q") {
			if f, err := strconv.ParseFloat(trimOWS(v), 64); err == nil && f >= 0 && f <= 1 {
				return int(f*1000 + 0.5)
			}
		}
	}
	return 1000
}

// appendPreferences writes a list by falling weight and then by name: the order
// of members of one weight has no meaning. RFC 9110, 12.5.3 and 12.5.4.
func appendPreferences(dst []byte, lines []string) []byte {
	for i, p := range parsePreferences(lines) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, p.name...)
		if p.weight != 1000 {
			dst = append(dst, ";q="...)
			dst = strconv.AppendInt(dst, int64(p.weight), 10)
		}
	}
	return dst
}

package validate

import (
	"net/url"
	"strings"
)

// maxDecodings is how many times over a path is unescaped by servers that do it
// more often than they should.
const maxDecodings = 2

// disguised tells whether some server would read a path as one whose operation
// is checked, and not the one found: behind //orders, /x/..%2Forders or /Orders a
// request for /orders would go by unchecked (RFC 3986, 6.2.2, and habits beyond).
func (d *document) disguised(escaped, method string, found *operation) bool {
	if found != nil && !d.twoWays(escaped) {
		return false
	}
	item, _ := d.folded.find(normalPath(escaped, found == nil))
	op := item.operation(method)
	return op != nil && op != found && !op.skip
}

// twoWays tells whether there is anything about a path that servers read
// differently.
func (d *document) twoWays(escaped string) bool {
	return strings.ContainsAny(escaped, `%\`) || strings.Contains(escaped, "//") || strings.Contains(escaped, "/.")
}

// normalPath writes a path as the most forgiving server reads it: unescaped, in
// lower case, without dots, empty segments and, if they may go too, parameters
// behind a semicolon.
func normalPath(escaped string, parameters bool) string {
	plain := escaped
	for range maxDecodings {
		if next, err := url.PathUnescape(plain); err == nil {
			plain = next
		}
	}
	plain = strings.ToLower(strings.ReplaceAll(plain, `\`, "/"))
	var kept []string
	for segment := range strings.SplitSeq(plain, "/") {
		if before, _, ok := strings.Cut(segment, ";"); ok && parameters && before != "" {
			segment = before
		}
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, url.PathEscape(segment))
		}
	}
	return "/" + strings.Join(kept, "/")
}

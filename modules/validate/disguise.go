package validate

import (
	"fmt"
	"net/url"
	"strings"
)

// maxDecodings is how many times over a path is unescaped by servers that do it
// more often than they should.
const maxDecodings = 2

// disguised tells whether some server would read a request as one for an
// operation that is checked, and not the one known here: behind //orders,
// /x/..%2Forders, /Orders or the method post a request for POST /orders would go
// by unchecked (RFC 3986, 6.2.2, and habits beyond). It returns what of the
// request is to blame, "" if nothing is.
func (d *document) disguised(escaped, method string, known *pathItem) (field string) {
	found := known.operation(method)
	if found != nil && !twoWays(escaped) {
		return ""
	}
	// Methods are told apart by case (RFC 9110, 9.1), but not by everybody.
	method = strings.ToUpper(method)
	if op := known.operation(method); found == nil && op != nil && !op.skip {
		return "method"
	}
	item, _ := d.folded.find(normalPath(escaped, found == nil))
	op := item.operation(method)
	if op == nil || op == found || op.skip || found != nil && known.fold() == item.path {
		return ""
	}
	return "path"
}

// foldPath writes a path of the document as those read it who do not care for upper
// and lower case, nor for a slash at the end; normalPath does so with a request's.
func foldPath(base, path string) string {
	parameters := 0
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	path = parameterInPath.ReplaceAllStringFunc(path, func(string) string {
		parameters++
		return fmt.Sprintf("{%d}", parameters)
	})
	return "/" + strings.ToLower(strings.Trim(strings.Trim(base, "/")+path, "/"))
}

func (p *pathItem) fold() string { return foldPath(p.base, p.path) }

// twoWays tells whether there is anything about a path that servers read
// differently.
func twoWays(escaped string) bool {
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

package validate

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxReferences is how many references may follow one another.
const maxReferences = 20

// lookup returns what a JSON pointer (RFC 6901) points to.
func lookup(doc any, ptr string) (any, error) {
	v := doc
	if ptr == "" {
		return v, nil
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(ptr, "/"), "/") {
		next, ok := child(v, unescapeToken(token))
		if !ok {
			return nil, fmt.Errorf("%q points to nothing", "#"+ptr)
		}
		v = next
	}
	return v, nil
}

func child(v any, token string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		next, ok := v[token]
		return next, ok
	case []any:
		i, err := strconv.Atoi(token)
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	}
	return nil, false
}

var (
	tokenEscaper   = strings.NewReplacer("~", "~0", "/", "~1")
	tokenUnescaper = strings.NewReplacer("~1", "/", "~0", "~")
)

func escapeToken(s string) string   { return tokenEscaper.Replace(s) }
func unescapeToken(s string) string { return tokenUnescaper.Replace(s) }

// urlEscape makes a pointer's token fit for a URL's fragment.
func urlEscape(s string) string { return url.PathEscape(s) }

// node is a place in a document: what is there and its pointer.
type node struct {
	doc any
	v   any
	ptr string
}

func (n node) at(token string) node {
	v, _ := child(n.v, token)
	return node{n.doc, v, n.ptr + "/" + escapeToken(token)}
}

func (n node) object() map[string]any {
	m, _ := n.v.(map[string]any)
	return m
}

func (n node) text() string {
	s, _ := n.v.(string)
	return s
}

func (n node) flag() bool {
	b, _ := n.v.(bool)
	return b
}

// resolve follows $ref to the object it stands for.
func (n node) resolve() (node, error) {
	for range maxReferences {
		ref := n.at("$ref")
		if ref.v == nil {
			if n.object() == nil {
				return n, n.errorf("must be an object")
			}
			return n, nil
		}
		target := ref.text()
		if !strings.HasPrefix(target, "#/") {
			return n, ref.errorf("%q leaves the document", target)
		}
		ptr := fragment(target)
		v, err := lookup(n.doc, ptr)
		if err != nil {
			return n, ref.errorf("%w", err)
		}
		n = node{n.doc, v, ptr}
	}
	return n, n.errorf("references go round in a circle")
}

func (n node) errorf(format string, args ...any) error {
	return fmt.Errorf("at %s: "+format, append([]any{orRoot(n.ptr)}, args...)...)
}

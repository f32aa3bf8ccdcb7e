package validate

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// router finds the operation for a path. It is a tree of path segments, so a
// look-up costs as much as the path is long, however many operations there are.
// A literal segment wins over a template, as OpenAPI says ("concrete paths are
// matched before their templated counterparts").
type router struct{ root routeNode }

type routeNode struct {
	literals  map[string]*routeNode
	templates []*routeTemplate // the most literal first
	item      *pathItem
}

// routeTemplate is a segment with parameters, such as {id} or {name}.json.
type routeTemplate struct {
	text   string
	whole  bool // {id} and nothing else
	expr   *regexp.Regexp
	weight int // length of its literal parts
	node   routeNode
}

// pathItem is what the document has for one path.
type pathItem struct {
	base, path string   // the path of a server, and the document's
	names      []string // the path parameters, in order of appearance
	operations map[string]*operation
}

// allow lists the methods of a path for the Allow header (RFC 9110, 10.2.1).
func (p *pathItem) allow() string {
	return strings.Join(slices.Sorted(maps.Keys(p.operations)), ", ")
}

// operation returns the path's operation for a method. HEAD is a GET without
// the body (RFC 9110, 9.3.2) unless the document says otherwise.
func (p *pathItem) operation(method string) *operation {
	if p == nil {
		return nil
	}
	op := p.operations[method]
	if op == nil && method == "HEAD" {
		op = p.operations["GET"]
	}
	return op
}

var parameterInPath = regexp.MustCompile(`\{([^{}/]+)\}`)

// item returns the place of a templated path below the path of a server; nil if
// that of another server has taken it.
func (rt *router) item(base, path string) (*pathItem, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("the path must begin with /")
	}
	node := &rt.root
	if base = strings.Trim(base, "/"); base != "" {
		for segment := range strings.SplitSeq(base, "/") {
			node = node.literal(segment)
		}
	}
	var names []string
	for segment := range strings.SplitSeq(path[1:], "/") {
		found := parameterInPath.FindAllStringSubmatch(segment, -1)
		if len(found) == 0 {
			if strings.ContainsAny(segment, "{}") {
				return nil, fmt.Errorf("segment %q: a brace has no partner", segment)
			}
			node = node.literal(segment)
			continue
		}
		for _, n := range found {
			if slices.Contains(names, n[1]) {
				return nil, fmt.Errorf("parameter {%s} appears twice", n[1])
			}
			names = append(names, n[1])
		}
		node = node.template(segment)
	}
	if node.item == nil {
		node.item = &pathItem{base: base, path: path, names: names, operations: map[string]*operation{}}
	}
	switch {
	case node.item.base != base:
		return nil, nil
	case node.item.path != path:
		return nil, fmt.Errorf("the path is the same as another but for the names of its parameters")
	}
	return node.item, nil
}

func (n *routeNode) literal(segment string) *routeNode {
	if plain, err := url.PathUnescape(segment); err == nil {
		segment = plain
	}
	if n.literals == nil {
		n.literals = map[string]*routeNode{}
	}
	if n.literals[segment] == nil {
		n.literals[segment] = &routeNode{}
	}
	return n.literals[segment]
}

func (n *routeNode) template(segment string) *routeNode {
	t := newTemplate(segment)
	for _, known := range n.templates {
		if known.text == t.text {
			return &known.node
		}
	}
	n.templates = append(n.templates, t)
	slices.SortStableFunc(n.templates, func(a, b *routeTemplate) int { return b.weight - a.weight })
	return &t.node
}

func newTemplate(segment string) *routeTemplate {
	literals := parameterInPath.Split(segment, -1)
	t := &routeTemplate{text: strings.Join(literals, "{}")}
	t.whole = t.text == "{}"
	parts := make([]string, len(literals))
	for i, l := range literals {
		parts[i] = regexp.QuoteMeta(l)
		t.weight += len(l)
	}
	t.expr = regexp.MustCompile("^" + strings.Join(parts, "([^/]+?)") + "$")
	return t
}

// match returns the values of the parameters in a segment, as they came.
func (t *routeTemplate) match(segment string, values []string) ([]string, bool) {
	if t.whole {
		return append(values, segment), segment != ""
	}
	found := t.expr.FindStringSubmatch(segment)
	if found == nil {
		return values, false
	}
	return append(values, found[1:]...), true
}

// find returns the item for an escaped request path and the values of its
// parameters, still escaped; nil if the document has no such path.
func (rt *router) find(escaped string) (*pathItem, []string) {
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return nil, nil
	}
	return rt.root.find(rest, nil)
}

// find visits each node below n at most once, whatever the path.
func (n *routeNode) find(path string, values []string) (*pathItem, []string) {
	segment, rest, more := strings.Cut(path, "/")
	plain := segment
	if strings.IndexByte(segment, '%') >= 0 {
		var err error
		if plain, err = url.PathUnescape(segment); err != nil {
			return nil, nil
		}
	}
	// A server behind us might resolve dots; nothing in a document means them.
	if plain == "." || plain == ".." {
		return nil, nil
	}
	if next := n.literals[plain]; next != nil {
		if item, found := next.below(rest, more, values); item != nil {
			return item, found
		}
	}
	for _, t := range n.templates {
		matched, ok := t.match(segment, values)
		if !ok {
			continue
		}
		if item, found := t.node.below(rest, more, matched); item != nil {
			return item, found
		}
	}
	return nil, nil
}

// below goes on with the rest of a path, if there is more of it.
func (n *routeNode) below(rest string, more bool, values []string) (*pathItem, []string) {
	if !more {
		return n.item, values
	}
	return n.find(rest, values)
}

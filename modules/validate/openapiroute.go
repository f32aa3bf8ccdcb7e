package validate

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// bases finds the paths that servers put before the document's own. Those of an
// operation win over those of its path, and those over the document's (OpenAPI
// 3.1, Path Item Object, servers). inherited is what holds without.
func (c *documentCompiler) bases(n node, inherited []string) ([]string, error) {
	if c.opts.base != "" {
		return []string{c.opts.base}, nil
	}
	servers, _ := n.at("servers").v.([]any)
	if len(servers) == 0 {
		return inherited, nil
	}
	found := map[string]bool{}
	for i := range servers {
		server := n.at("servers").at(fmt.Sprint(i))
		address := server.at("url").text()
		for name := range server.at("variables").object() {
			value := server.at("variables").at(name).at("default").text()
			address = strings.ReplaceAll(address, "{"+name+"}", value)
		}
		u, err := url.Parse(address)
		if err != nil {
			return nil, server.at("url").errorf("%q is not a URL", address)
		}
		found[u.EscapedPath()] = true
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b string) int { return len(b) - len(a) }), nil
}

// route makes an operation the one of a method and path below each of the bases,
// of which the longest come first. Without a method it makes the path known.
func (c *documentCompiler) route(at node, path, method string, op *operation, bases []string) error {
	for _, base := range bases {
		item, err := c.out.router.item(base, path)
		if err != nil {
			return at.errorf("%w", err)
		}
		if item != nil && op != nil {
			item.operations[method] = op
		}
		// Of those that fold into one the first stands for all.
		twin, err := c.out.folded.item("", foldPath(base, path))
		if err == nil && op != nil && twin.operations[method] == nil {
			twin.operations[method] = op
		}
	}
	return nil
}

// pathNames are the names of the parameters in a path.
func pathNames(path string) []string {
	var names []string
	for _, found := range parameterInPath.FindAllStringSubmatch(path, -1) {
		names = append(names, found[1])
	}
	return names
}

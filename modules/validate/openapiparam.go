package validate

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// styles are the ways to write a parameter, by where it stands; the first is
// the default (OpenAPI 3.1, Parameter Object, style).
var styles = map[string][]string{
	"path":   {"simple", "label", "matrix"},
	"query":  {"form", "spaceDelimited", "pipeDelimited", "deepObject"},
	"header": {"simple"},
	"cookie": {"form"},
}

// parameter reads a Parameter Object; nil if it is one that says nothing.
func (c *documentCompiler) parameter(n node) (*parameter, error) {
	n, err := n.resolve()
	if err != nil {
		return nil, err
	}
	p := &parameter{name: n.at("name").text(), in: n.at("in").text(), required: n.at("required").flag()}
	if p.name == "" {
		return nil, n.at("name").errorf("a parameter must have a name")
	}
	if styles[p.in] == nil {
		return nil, n.at("in").errorf("want path, query, header or cookie, got %q", p.in)
	}
	if err := p.setStyle(n); err != nil {
		return nil, err
	}
	p.allowEmpty = p.in == "query" && n.at("allowEmptyValue").flag()
	if p.in == "path" {
		p.required = true
	}
	if p.in == "header" {
		p.name = http.CanonicalHeaderKey(p.name)
		// OpenAPI 3.1, Parameter Object, name: these are described elsewhere.
		if slices.Contains([]string{"Accept", "Content-Type", "Authorization"}, p.name) {
			return nil, nil
		}
	}
	return p, c.parameterSchema(p, n, c.set)
}

// setStyle reads how a parameter is written.
func (p *parameter) setStyle(n node) error {
	known := styles[p.in]
	if p.style = n.at("style").text(); p.style == "" {
		p.style = known[0]
	}
	if !slices.Contains(known, p.style) {
		return n.at("style").errorf("want one of %s, got %q", strings.Join(known, ", "), p.style)
	}
	explode, given := n.at("explode").v.(bool)
	p.explode = explode || !given && p.style == "form" && p.in == "query"
	return nil
}

// parameterSchema has the schema of a parameter or header compiled with those of
// requests or of responses.
func (c *documentCompiler) parameterSchema(p *parameter, n node, set *schemaSet) error {
	schema := n.at("schema")
	if content := n.at("content"); content.v != nil {
		types := slices.Collect(maps.Keys(content.object()))
		if len(types) != 1 || schema.v != nil {
			return content.errorf("must name one media type, and stand without a schema")
		}
		p.asJSON = isJSONType(strings.ToLower(types[0]))
		schema = content.at(types[0]).at("schema")
	}
	if schema.v == nil {
		// The parameter may be anything: only its presence is checked.
		p.reader = newTextReader(nil, 0)
		return nil
	}
	set.need(schema.ptr)
	c.bind = append(c.bind, func() error {
		s, err := set.schema(schema.ptr)
		if err != nil {
			return err
		}
		p.rule, p.reader = c.rules.rule(s), newTextReader(s, 0)
		if !c.opts.defaults || set != c.set {
			return nil
		}
		if err := p.setDefault(s); err != nil {
			return schema.errorf("%w", err)
		}
		return nil
	})
	return nil
}

package validate

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// encodings reads the Encoding Objects of a form, by field; what it returns is
// called once the form is compiled.
func (c *documentCompiler) encodings(t *bodyType, n node) (apply func(), err error) {
	all := n.at("encoding")
	if all.v != nil && all.object() == nil {
		return nil, all.errorf("must be an object")
	}
	isMultipart := t.media == "multipart/form-data"
	var set []func()
	for _, name := range slices.Sorted(maps.Keys(all.object())) {
		e := all.at(name)
		if isMultipart && (e.at("style").v != nil || e.at("explode").v != nil) {
			c.out.unchecked = append(c.out.unchecked, e.ptr)
		}
		style, err := c.fieldStyle(name, e, isMultipart)
		if err != nil {
			return nil, err
		}
		headers, err := c.headers(e.at("headers"), c.set)
		if err != nil {
			return nil, err
		}
		set = append(set, func() {
			fld := t.form.fields[name]
			if fld == nil {
				c.out.unchecked = append(c.out.unchecked, e.ptr)
				return
			}
			fld.encode(mediaTypes(e.at("contentType").text()), style, headers)
		})
	}
	return func() {
		for _, f := range set {
			f()
		}
	}, nil
}

// fieldStyle returns how a field of a URL-encoded form is written; nil if plainly.
func (c *documentCompiler) fieldStyle(name string, e node, isMultipart bool) (*parameter, error) {
	if isMultipart || e.at("style").v == nil && e.at("explode").v == nil {
		return nil, nil
	}
	p := &parameter{name: name, in: "query"}
	return p, p.setStyle(e)
}

func mediaTypes(list string) []string {
	var types []string
	for one := range strings.SplitSeq(list, ",") {
		if one = mediaRange(one); one != "" {
			types = append(types, one)
		}
	}
	return types
}

// encode sets how a field is written.
func (fld *formField) encode(types []string, style *parameter, headers []*parameter) {
	if style != nil {
		style.reader = fld.reader
		fld.style = style
		return // it wins over contentType (OpenAPI 3.1, Encoding Object)
	}
	fld.types, fld.headers = types, headers
	if len(types) > 0 {
		fld.json = !slices.ContainsFunc(types, func(t string) bool { return !isJSONType(t) })
	}
}

// headers reads a map of Header Objects, except for Content-Type, which is
// described elsewhere (OpenAPI 3.1, Response Object and Encoding Object, headers).
func (c *documentCompiler) headers(all node, set *schemaSet) ([]*parameter, error) {
	var headers []*parameter
	for _, name := range slices.Sorted(maps.Keys(all.object())) {
		n, err := all.at(name).resolve()
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(name, "Content-Type") {
			continue
		}
		p := &parameter{name: http.CanonicalHeaderKey(name), in: "header", style: "simple"}
		p.required, p.explode = n.at("required").flag(), n.at("explode").flag()
		if err := c.parameterSchema(p, n, set); err != nil {
			return nil, err
		}
		headers = append(headers, p)
	}
	return headers, nil
}

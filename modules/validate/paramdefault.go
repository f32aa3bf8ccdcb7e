package validate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/net/http/httpguts"
)

// errUnwritable says that a value has no form in text.
var errUnwritable = errors.New("cannot be written as text")

// defaultOf returns the default of a schema, of what it refers to, or of what it
// combines by allOf; nil if there is none.
func defaultOf(s *jsonschema.Schema, depth int) *any {
	if s == nil || depth > maxReferences {
		return nil
	}
	if s.Default != nil {
		return s.Default
	}
	for _, part := range append([]*jsonschema.Schema{s.Ref}, s.AllOf...) {
		if value := defaultOf(part, depth+1); value != nil {
			return value
		}
	}
	return nil
}

// setDefault makes a parameter that is missing go on with its default. The path
// always has its parameters.
func (p *parameter) setDefault(s *jsonschema.Schema) error {
	value := defaultOf(s, 0)
	if value == nil || p.in == "path" {
		return nil
	}
	if issues := p.rule.check(*value); issues != nil {
		return fmt.Errorf("the default %s", issues[0].Message)
	}
	var err error
	if p.fill, err = p.written(*value); err != nil {
		return fmt.Errorf("the default %w", err)
	}
	return nil
}

// written is a value as a request has it: part of a query or of the header
// Cookie, or the value of a header.
func (p *parameter) written(v any) (string, error) {
	if p.in == "query" {
		pairs, err := p.pairs(v)
		return strings.Join(pairs, "&"), err
	}
	text, err := p.list(v, func(s string) string { return s }, ",")
	if err == nil && (!httpguts.ValidHeaderFieldValue(text) || p.in == "cookie" && strings.ContainsAny(text, "\"\\; ")) {
		err = errors.New("has characters that cannot be in a header")
	}
	if p.in == "cookie" {
		text = p.name + "=" + text
	}
	return text, err
}

// pairs writes a value in the styles of queries (OpenAPI 3.1, Style Values).
func (p *parameter) pairs(v any) ([]string, error) {
	name := url.QueryEscape(p.name)
	if !p.asJSON {
		switch v := v.(type) {
		case map[string]any:
			if p.style == "deepObject" || p.explode {
				return p.memberPairs(v)
			}
		case []any:
			if p.explode {
				return itemPairs(name, v)
			}
		}
	}
	separator := map[string]string{"spaceDelimited": "%20", "pipeDelimited": "%7C"}[p.style]
	if separator == "" {
		separator = ","
	}
	text, err := p.list(v, url.QueryEscape, separator)
	return []string{name + "=" + text}, err
}

func (p *parameter) memberPairs(obj map[string]any) ([]string, error) {
	var pairs []string
	for _, member := range slices.Sorted(maps.Keys(obj)) {
		key := url.QueryEscape(member)
		if p.style == "deepObject" {
			key = url.QueryEscape(p.name + "[" + member + "]")
		}
		text, err := scalarText(obj[member])
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, key+"="+url.QueryEscape(text))
	}
	return pairs, nil
}

func itemPairs(name string, items []any) ([]string, error) {
	pairs := make([]string, len(items))
	for i, item := range items {
		text, err := scalarText(item)
		if err != nil {
			return nil, err
		}
		pairs[i] = name + "=" + url.QueryEscape(text)
	}
	return pairs, nil
}

// list writes a value as one text: a,b,c or k,v,k,v or, exploded, k=v,k=v.
func (p *parameter) list(v any, escape func(string) string, separator string) (string, error) {
	if p.asJSON {
		text, err := json.Marshal(v)
		return escape(string(text)), err
	}
	var texts []string
	add := func(v any, before string) error {
		text, err := scalarText(v)
		texts = append(texts, before+escape(text))
		return err
	}
	var err error
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			err = errors.Join(err, add(item, ""))
		}
	case map[string]any:
		between := separator
		if p.explode {
			between = "="
		}
		for _, member := range slices.Sorted(maps.Keys(v)) {
			err = errors.Join(err, add(v[member], escape(member)+between))
		}
	default:
		err = add(v, "")
	}
	return strings.Join(texts, separator), err
}

func scalarText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number, bool:
		return fmt.Sprint(v), nil
	}
	return "", errUnwritable
}

// fill adds the defaults of parameters to a request.
func fill(r *http.Request, missing []*parameter) {
	for _, p := range missing {
		switch p.in {
		case "query":
			r.URL.RawQuery = joinNonEmpty(r.URL.RawQuery, "&", p.fill)
		case "header":
			r.Header.Set(p.name, p.fill)
		case "cookie":
			r.Header.Set("Cookie", joinNonEmpty(strings.Join(r.Header.Values("Cookie"), "; "), "; ", p.fill))
		}
	}
}

func joinNonEmpty(before, separator, after string) string {
	if before == "" {
		return after
	}
	return before + separator + after
}

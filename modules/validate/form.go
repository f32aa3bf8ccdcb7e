package validate

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxParts bounds the fields of a form.
const maxParts = 1000

// formValidator checks the fields of a form as the members of an object.
type formValidator struct {
	rule     *rule
	fields   map[string]*formField // those that the schema declares
	limits   Limits
	strip    bool
	defaults bool
	layer    layer
}

// formField is how a declared field is written (OpenAPI 3.1, Encoding Object).
type formField struct {
	reader *textReader
	json   bool       // its text is JSON, or that of each item
	style  *parameter // how it is written in a URL-encoded form if not plainly; else nil

	// Of parts of multipart forms:
	types   []string     // media types that it may have; nil: any
	headers []*parameter // what is required of its headers

	fill []any // values to add where it is missing
}

// field is one value of a form.
type field struct {
	text string
	file bool // it came with a file name
}

func newFormValidator(s *jsonschema.Schema, rules *ruleBuilder, opts documentOptions) *formValidator {
	f := &formValidator{
		rule: rules.rule(s), fields: map[string]*formField{},
		limits: opts.limits, strip: opts.strip, defaults: opts.defaults,
	}
	f.layer.gather(s)
	f.layer.settle()
	for name, p := range propertiesOf(s) {
		fld := &formField{reader: newTextReader(p, 1)}
		fld.json = fld.reader.kinds.object || fld.reader.items != nil && fld.reader.items.kinds.object
		if value := defaultOf(p, 0); opts.defaults && value != nil && !f.layer.opaque {
			fld.fill = []any{*value}
			if items, ok := (*value).([]any); ok && fld.reader.kinds.array {
				fld.fill = items
			}
		}
		f.fields[name] = fld
	}
	return f
}

// urlencoded checks application/x-www-form-urlencoded. Fields that the schema
// does not declare are removed, and defaults added, if the config says so.
func (f *formValidator) urlencoded(body []byte) (out []byte, changed bool, issues []Issue, isMalformed bool) {
	values, query, issue := readURLEncoded(body)
	if issue != nil {
		return nil, false, []Issue{*issue}, true
	}
	obj, issues := f.object(values, query, string(body))
	if issues == nil {
		issues = f.rule.check(obj)
	}
	if issues != nil {
		return nil, false, issues, false
	}
	pairs := strings.Split(string(body), "&")
	kept := append(f.keep(pairs), f.missingPairs(obj)...)
	text := strings.Join(kept, "&")
	if text == string(body) {
		return body, false, nil, false
	}
	// Fewer or more fields can break minProperties, dependentRequired, not …
	values, query, issue = readURLEncoded([]byte(text))
	if issue != nil {
		return nil, false, []Issue{*issue}, true
	}
	if obj, issues = f.object(values, query, text); issues == nil {
		issues = f.rule.check(obj)
	}
	return []byte(text), true, issues, false
}

func readURLEncoded(body []byte) (values map[string][]field, query url.Values, issue *Issue) {
	text := string(body)
	if strings.Count(text, "&") >= maxParts {
		return nil, nil, &Issue{Message: fmt.Sprintf("has more than %d fields", maxParts)}
	}
	query, err := url.ParseQuery(text)
	if err != nil || !utf8.Valid(body) {
		return nil, nil, &Issue{Message: "is not a URL-encoded form"}
	}
	values = make(map[string][]field, len(query))
	for name, texts := range query {
		for _, text := range texts {
			if !utf8.ValidString(name) || !utf8.ValidString(text) {
				return nil, nil, &Issue{Message: "must be UTF-8"}
			}
			values[name] = append(values[name], field{text: text})
		}
	}
	return values, query, nil
}

// keep returns the pairs that may go on.
func (f *formValidator) keep(pairs []string) []string {
	if !f.strips() {
		return pairs
	}
	var kept []string
	for _, pair := range pairs {
		key, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(key); err == nil && (f.layer.declares(name) || f.styled(name)) {
			kept = append(kept, pair)
		}
	}
	return kept
}

func (f *formValidator) strips() bool { return f.strip && !f.layer.open && !f.layer.opaque }

// styled tells whether a key belongs to a field that is written in its own way.
func (f *formValidator) styled(key string) bool {
	for _, fld := range f.fields {
		if fld.style != nil && fld.style.takes(key) {
			return true
		}
	}
	return false
}

// missingPairs writes the defaults of fields that are not there.
func (f *formValidator) missingPairs(obj map[string]any) []string {
	var pairs []string
	for _, name := range f.missing(obj) {
		fld := f.fields[name]
		if fld.style != nil {
			more, _ := fld.style.pairs(fld.whole())
			pairs = append(pairs, more...)
			continue
		}
		for _, v := range fld.fill {
			text, _ := fld.text(v)
			pairs = append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(text))
		}
	}
	return pairs
}

// object builds the object that the fields make. query and raw are the same as
// values, empty for multipart forms.
func (f *formValidator) object(values map[string][]field, query url.Values, raw string) (map[string]any, []Issue) {
	obj := make(map[string]any, len(values))
	var issues []Issue
	fail := func(name, fault string) {
		issues = append(issues, Issue{fieldPath([]step{{name: name}}), fault})
	}
	for name, fld := range f.fields {
		if fld.style == nil || raw == "" {
			continue
		}
		v, present, fault := fld.style.fromQuery(&arguments{query: query, rawQuery: raw})
		switch {
		case fault != "":
			fail(name, fault)
		case present:
			obj[name] = v
		}
	}
	for name, texts := range values {
		if raw != "" && f.styled(name) {
			continue
		}
		v, fault := f.value(f.fields[name], texts)
		if fault != "" {
			fail(name, fault)
			continue
		}
		obj[name] = v
	}
	if issues != nil {
		return nil, tidy(issues, 0)
	}
	return obj, nil
}

func (f *formValidator) value(fld *formField, values []field) (any, string) {
	if fld != nil && fld.reader.kinds.array && (!fld.json || fld.reader.items != nil) {
		items := make([]any, len(values))
		for i, v := range values {
			item, fault := f.one(fld.reader.items, fld.json, v)
			if fault != "" {
				return nil, fault
			}
			items[i] = item
		}
		return items, ""
	}
	if len(values) > 1 {
		return nil, "must be given once"
	}
	if fld == nil {
		return values[0].text, ""
	}
	return f.one(fld.reader, fld.json, values[0])
}

// one reads a single value. An object in a form is JSON (OpenAPI 3.1, Encoding
// Object, contentType).
func (f *formValidator) one(reader *textReader, isJSON bool, v field) (any, string) {
	if !isJSON || v.file && reader != nil && reader.kinds.text {
		return reader.scalar(v.text), ""
	}
	parsed, err := parse([]byte(v.text), f.limits)
	if err != nil {
		return nil, "must be JSON"
	}
	return parsed, ""
}

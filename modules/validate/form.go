package validate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxParts bounds the fields of a form.
const maxParts = 1000

// formValidator checks the fields of a form as the members of an object.
type formValidator struct {
	rule    *rule
	reader  *textReader
	members map[string]*jsonschema.Schema
	limits  Limits
	strip   bool
	layer   layer
}

func newFormValidator(s *jsonschema.Schema, rules *ruleBuilder, limits Limits, strip bool) *formValidator {
	f := &formValidator{rule: rules.rule(s), reader: newTextReader(s, 0), members: propertiesOf(s), limits: limits, strip: strip}
	if f.reader.members == nil {
		f.reader.members = map[string]*textReader{}
		for name, p := range f.members {
			f.reader.members[name] = newTextReader(p, 1)
		}
	}
	f.layer.gather(s)
	f.layer.settle()
	return f
}

// urlencoded checks application/x-www-form-urlencoded. Fields that the schema
// does not declare are removed if strip_unknown says so.
func (f *formValidator) urlencoded(body []byte) (out []byte, changed bool, issues []Issue, isMalformed bool) {
	fields, err := url.ParseQuery(string(body))
	if err != nil || !utf8.Valid(body) {
		return nil, false, []Issue{{Message: "is not a URL-encoded form"}}, true
	}
	if len(fields) > maxParts {
		return nil, false, []Issue{{Message: fmt.Sprintf("has more than %d fields", maxParts)}}, true
	}
	values := make(map[string][]field, len(fields))
	for name, texts := range fields {
		for _, text := range texts {
			values[name] = append(values[name], field{text: text})
		}
	}
	if issues := f.check(values); issues != nil {
		return nil, false, issues, false
	}
	if !f.strip || f.layer.open || f.layer.opaque {
		return body, false, nil, false
	}
	var kept []string
	pairs := strings.Split(string(body), "&")
	for _, pair := range pairs {
		key, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(key); err == nil && f.layer.declares(name) {
			kept = append(kept, pair)
		}
	}
	if len(kept) == len(pairs) {
		return body, false, nil, false
	}
	return []byte(strings.Join(kept, "&")), true, nil, false
}

// field is one value of a form.
type field struct {
	text string
	file bool // it came with a file name
}

// multipart checks multipart/form-data (RFC 7578). Its bytes go on as they are.
func (f *formValidator) multipart(body []byte, boundary string) (issues []Issue, isMalformed bool) {
	if boundary == "" {
		return []Issue{{Message: "has no boundary"}}, true
	}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	values := map[string][]field{}
	for n := 0; ; n++ {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return []Issue{{Message: "is not a multipart form"}}, true
		}
		if n == maxParts {
			return []Issue{{Message: fmt.Sprintf("has more than %d fields", maxParts)}}, true
		}
		name := part.FormName()
		content, err := io.ReadAll(part)
		if err != nil || name == "" {
			return []Issue{{Message: "is not a multipart form"}}, true
		}
		values[name] = append(values[name], field{text: partText(content), file: part.FileName() != ""})
	}
	return f.check(values), false
}

// partText makes of a file's bytes a string of the same length that no rule
// about text can stumble over.
func partText(content []byte) string {
	if utf8.Valid(content) {
		return string(content)
	}
	return strings.Repeat("?", len(content))
}

// check builds the object that the fields make and checks it.
func (f *formValidator) check(fields map[string][]field) []Issue {
	obj := make(map[string]any, len(fields))
	var issues []Issue
	for name, values := range fields {
		v, fault := f.value(f.reader.members[name], values)
		if fault != "" {
			issues = append(issues, Issue{fieldPath([]step{{name: name}}), fault})
			continue
		}
		obj[name] = v
	}
	if issues != nil {
		return tidy(issues, 0)
	}
	return f.rule.check(obj)
}

func (f *formValidator) value(reader *textReader, values []field) (any, string) {
	if reader != nil && reader.kinds.array {
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = v.text
		}
		return reader.list(texts), ""
	}
	if len(values) > 1 {
		return nil, "must be given once"
	}
	if reader != nil && reader.kinds.object && !values[0].file {
		// OpenAPI 3.1, Encoding Object: an object in a form is JSON.
		v, err := parse([]byte(values[0].text), f.limits)
		if err != nil {
			return nil, "must be JSON"
		}
		return v, ""
	}
	return reader.scalar(values[0].text), ""
}

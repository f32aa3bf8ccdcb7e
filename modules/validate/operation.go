package validate

import (
	"mime"
	"net/http"
	"slices"
	"strings"
)

// operation is what one method of one path takes.
type operation struct {
	id     string // operationId, or "POST /path" without one
	skip   bool   // nothing is checked
	params []*parameter
	body   *requestBody // nil if the operation takes none

	responses *responses // nil if answers are not checked
}

// requestBody is the body of an operation, by media type.
type requestBody struct {
	required bool
	byMethod bool        // required for POST, PUT and PATCH
	types    []*bodyType // the most specific first
}

func (b *requestBody) requiredFor(method string) bool {
	if b.byMethod {
		return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
	}
	return b.required
}

// bodyType is one media type that a body may have, and how it is checked.
type bodyType struct {
	media   string // application/json, image/*, */*
	anyJSON bool   // media stands for every type that is JSON
	json    *bodyValidator
	form    *formValidator
}

// accept lists the types for the Accept header of a 415 (RFC 9110, 15.5.16).
func (b *requestBody) accept() string {
	names := make([]string, len(b.types))
	for i, t := range b.types {
		names[i] = t.media
	}
	return strings.Join(names, ", ")
}

// find returns the type that a request declares for its body. A second
// Content-Type is refused: who comes after us might read that one.
func (b *requestBody) find(h http.Header) (t *bodyType, media string, params map[string]string) {
	values := h.Values("Content-Type")
	if len(values) != 1 {
		return nil, "", nil
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err != nil {
		return nil, "", nil
	}
	i := slices.IndexFunc(b.types, func(t *bodyType) bool { return t.matches(media) })
	if i < 0 {
		return nil, "", nil
	}
	t = b.types[i]
	// RFC 8259, 8.1: JSON is UTF-8.
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") && (t.json != nil || t.form != nil) {
		return nil, "", nil
	}
	return t, media, params
}

func (t *bodyType) matches(media string) bool {
	if t.media == media || t.media == "*/*" || t.anyJSON && isJSONType(media) {
		return true
	}
	if kind, ok := strings.CutSuffix(t.media, "/*"); ok {
		return strings.HasPrefix(media, kind+"/")
	}
	// A schema for JSON holds for every type that is JSON by its suffix
	// (RFC 6839) when the document says application/*+json.
	if rest, ok := strings.CutPrefix(t.media, "application/*"); ok {
		return strings.HasPrefix(media, "application/") && strings.HasSuffix(media, rest)
	}
	return false
}

// check validates a body that came with this media type and its parameters. A
// type such as */* has a schema for JSON only.
func (t *bodyType) check(body []byte, media string, params map[string]string) (out []byte, changed bool, issues []Issue, isMalformed bool) {
	switch {
	case t.json != nil && isJSONType(media):
		return t.json.validate(body)
	case t.form != nil && t.media == "multipart/form-data":
		return t.form.multipart(body, params["boundary"])
	case t.form != nil:
		return t.form.urlencoded(body)
	}
	return body, false, nil, false
}

// isJSONType tells whether bodies of a media type are JSON: by name, or by the
// suffix +json (RFC 6839).
func isJSONType(media string) bool {
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// checkParams returns what is wrong with the parameters of a request, and which
// of them are missing and have a default.
func (op *operation) checkParams(args *arguments) (issues []Issue, missing []*parameter) {
	for _, p := range op.params {
		more, present := p.check(args)
		issues = append(issues, more...)
		if !present && p.fill != "" {
			missing = append(missing, p)
		}
	}
	return issues, missing
}

package validate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// formPart is one part of a multipart form, as it came.
type formPart struct {
	name    string
	file    bool
	header  textproto.MIMEHeader
	content []byte
}

// multipart checks multipart/form-data (RFC 7578). It goes on as it came, unless
// parts are removed or added.
func (f *formValidator) multipart(body []byte, boundary string) (out []byte, changed bool, issues []Issue, isMalformed bool) {
	parts, fault := readMultipart(body, boundary)
	if fault != "" {
		return nil, false, []Issue{{Message: fault}}, true
	}
	obj, issues := f.parts(parts)
	if issues != nil {
		return nil, false, issues, false
	}
	kept := parts
	if f.strips() {
		kept = slices.DeleteFunc(slices.Clone(parts), func(p formPart) bool { return !f.layer.declares(p.name) })
	}
	kept = append(kept, f.missingParts(obj)...)
	if len(kept) == len(parts) && len(f.missing(obj)) == 0 {
		return body, false, nil, false
	}
	if _, issues = f.parts(kept); issues != nil {
		return nil, false, issues, false
	}
	out, err := writeMultipart(kept, boundary)
	if err != nil {
		return nil, false, []Issue{{Message: "is not a multipart form"}}, true
	}
	return out, true, nil, false
}

// readMultipart takes a form apart. There must be nothing before the first
// boundary or behind the last, and none that only a lenient reader sees: such a
// reader might find other parts than those that were checked.
func readMultipart(body []byte, boundary string) (parts []formPart, fault string) {
	const broken = "is not a multipart form"
	if boundary == "" {
		return nil, "has no boundary"
	}
	first, last := "--"+boundary, "--"+boundary+"--"
	inside := "\r\n" + strings.Trim(string(body), " \t\r\n")
	lines := strings.Count(inside, "\n"+first)
	if !strings.HasPrefix(inside, "\r\n"+first) || !strings.HasSuffix(inside, "\r\n"+last) || strings.Count(inside, "\r\n"+first) != lines {
		return nil, broken
	}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) && lines == len(parts)+1 {
			return parts, ""
		}
		if err != nil {
			return nil, broken
		}
		if len(parts) == maxParts {
			return nil, fmt.Sprintf("has more than %d fields", maxParts)
		}
		content, err := io.ReadAll(part)
		name := part.FormName()
		if err != nil || !plainHeader(part.Header) || name == "" || !utf8.ValidString(name) || strings.ContainsAny(name, "\"\\\x00") {
			return nil, broken
		}
		parts = append(parts, formPart{name: name, file: part.FileName() != "", header: part.Header, content: content})
	}
}

// extendedName is the parameter name* or name*0 (RFC 2231) of a disposition. Some
// read it, and it wins over name; others do not know it.
var extendedName = regexp.MustCompile(`(?i);[\s\v\p{Z}\x{85}]*name\*`)

// plainHeader refuses headers of a part that readers understand differently:
// given twice, with a name in two spellings, or naming an encoding of old, which
// some undo (RFC 7578, 4.7).
func plainHeader(h textproto.MIMEHeader) bool {
	for _, name := range []string{"Content-Disposition", "Content-Type", "Content-Transfer-Encoding"} {
		if len(h[name]) > 1 {
			return false
		}
	}
	if extendedName.MatchString(h.Get("Content-Disposition")) {
		return false
	}
	encoding := strings.ToLower(h.Get("Content-Transfer-Encoding"))
	return slices.Contains([]string{"", "7bit", "8bit", "binary"}, encoding)
}

// parts checks what the parts make together, and each by its encoding.
func (f *formValidator) parts(parts []formPart) (map[string]any, []Issue) {
	values := map[string][]field{}
	var issues []Issue
	for _, p := range parts {
		values[p.name] = append(values[p.name], field{text: partText(p.content), file: p.file})
		if fld := f.fields[p.name]; fld != nil {
			issues = append(issues, fld.checkPart(p)...)
		}
	}
	if issues != nil {
		return nil, tidy(issues, 0)
	}
	obj, issues := f.object(values, nil, "")
	if issues != nil {
		return nil, issues
	}
	return obj, f.rule.check(obj)
}

// checkPart checks a part's media type and headers.
func (fld *formField) checkPart(p formPart) []Issue {
	at := fieldPath([]step{{name: p.name}})
	if given := p.header.Get("Content-Type"); fld.types != nil && (given != "" || p.file) {
		media, _, err := mime.ParseMediaType(given)
		if err != nil || !slices.ContainsFunc(fld.types, func(t string) bool { return (&bodyType{media: t}).matches(media) }) {
			return []Issue{{at, "must be of the type " + orList(fld.types)}}
		}
	}
	var issues []Issue
	args := &arguments{header: http.Header(p.header)}
	for _, h := range fld.headers {
		more, _ := h.check(args)
		for _, issue := range more {
			issues = append(issues, Issue{at + "." + issue.Field, issue.Message})
		}
	}
	return issues
}

// partText makes of a file's bytes a string of the same length that no rule
// about text can stumble over.
func partText(content []byte) string {
	if utf8.Valid(content) {
		return string(content)
	}
	return strings.Repeat("?", len(content))
}

// missingParts are the parts that defaults make.
func (f *formValidator) missingParts(obj map[string]any) []formPart {
	var parts []formPart
	for _, name := range f.missing(obj) {
		fld := f.fields[name]
		for _, v := range fld.fill {
			text, _ := fld.text(v)
			header := textproto.MIMEHeader{"Content-Disposition": {mime.FormatMediaType("form-data", map[string]string{"name": name})}}
			if fld.json {
				header.Set("Content-Type", "application/json")
			}
			parts = append(parts, formPart{name: name, header: header, content: []byte(text)})
		}
	}
	return parts
}

func writeMultipart(parts []formPart, boundary string) ([]byte, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(boundary); err != nil {
		return nil, err
	}
	for _, p := range parts {
		part, err := w.CreatePart(p.header)
		if err != nil {
			return nil, err
		}
		if _, err := part.Write(p.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

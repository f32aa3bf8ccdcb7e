package validate

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// bodyResult is what came of a body. Issues are collected with those of the
// parameters; a refusal stands for itself.
type bodyResult struct {
	outcome string
	issues  []Issue
	refused *refusal
}

// checkBody reads and validates the body and puts what was validated in its
// place. body is what the operation takes, nil if it takes none.
func (h *Handler) checkBody(w http.ResponseWriter, r *http.Request, body *requestBody) bodyResult {
	if !hasBody(r) {
		return noBody(r, body)
	}
	// With a declared length all but the size can be refused before reading.
	// Without, nobody knows yet whether there is a body: over HTTP/3 that holds
	// for every GET.
	known := r.ContentLength > 0
	var p *pending
	var refused *refusal
	if known {
		if p, refused = accept(w, r, body); refused != nil {
			return bodyResult{refused: refused}
		}
	}
	content, refused := h.reader.read(w, r)
	if refused != nil {
		return bodyResult{refused: refused}
	}
	if len(content) == 0 {
		r.Body = http.NoBody
		return noBody(r, body)
	}
	if !known {
		if p, refused = accept(w, r, body); refused != nil {
			return bodyResult{refused: refused}
		}
	}
	return p.check(r, content)
}

func noBody(r *http.Request, body *requestBody) bodyResult {
	if body != nil && body.requiredFor(r.Method) {
		return bodyResult{outcome: "invalid", issues: []Issue{{Message: "is required"}}}
	}
	return bodyResult{outcome: "passed"}
}

// pending is a body whose type is known and whose content is not.
type pending struct {
	as     *bodyType
	media  string
	params map[string]string
}

// accept finds out whether the operation takes a body of the declared type.
func accept(w http.ResponseWriter, r *http.Request, body *requestBody) (*pending, *refusal) {
	if body == nil {
		return nil, invalid("invalid", Issue{Message: "is not part of this operation"})
	}
	t, media, params := body.find(r.Header)
	if t == nil {
		w.Header().Set("Accept", body.accept())
		return nil, unsupported(fmt.Errorf("content type %q", r.Header.Values("Content-Type")))
	}
	if t.json != nil || t.form != nil {
		if refused := plainCoding(w, r.Header); refused != nil {
			return nil, refused
		}
	}
	return &pending{as: t, media: media, params: params}, nil
}

func (p *pending) check(r *http.Request, content []byte) bodyResult {
	done, err := turn(r.Context(), len(content))
	if err != nil {
		return bodyResult{refused: invalid("malformed", Issue{Message: "was abandoned by the client"})}
	}
	out, changed, issues, isMalformed := p.as.check(content, p.media, p.params)
	done()
	switch {
	case isMalformed:
		return bodyResult{outcome: "malformed", issues: issues}
	case issues != nil:
		return bodyResult{outcome: "invalid", issues: issues}
	}
	replaceBody(r, out, changed)
	p.canonicalType(r.Header)
	if changed {
		return bodyResult{outcome: "changed"}
	}
	return bodyResult{outcome: "passed"}
}

// canonicalType writes the media type in lower case. APPLICATION/JSON is the
// same type (RFC 9110, 8.3.1), but not every upstream knows.
func (p *pending) canonicalType(h http.Header) {
	given := h.Get("Content-Type")
	if strings.HasPrefix(given, p.media) {
		return
	}
	if canonical := mime.FormatMediaType(p.media, p.params); canonical != "" {
		h.Set("Content-Type", canonical)
	}
}

package validate

import (
	"errors"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// bodyValidator decides about JSON bodies by one schema. It knows neither HTTP
// nor Caddy and is safe for concurrent use.
type bodyValidator struct {
	schema  *jsonschema.Schema
	rule    *rule
	limits  Limits
	rewrite *rewriter // nil if nothing is to be changed
}

// newBodyValidator joins a schema with a rewriter, which may be nil.
func newBodyValidator(s *jsonschema.Schema, rules *ruleBuilder, limits Limits, rw *rewriter) *bodyValidator {
	rw.learn(s)
	return &bodyValidator{schema: s, rule: rules.rule(s), limits: limits, rewrite: rw}
}

// validate returns the bytes that go on to the upstream: those of body, or what
// the rewriter made of them, which has then been validated in its turn. Issues
// mean that the body is refused; malformed tells bad JSON from bad values.
func (v *bodyValidator) validate(body []byte) (out []byte, changed bool, issues []Issue, isMalformed bool) {
	doc, err := parse(body, v.limits)
	var bad *malformed
	if errors.As(err, &bad) {
		return nil, false, []Issue{{bad.Field, bad.Message}}, true
	}
	if issues = v.rule.check(doc); issues != nil {
		return nil, false, issues, false
	}
	if v.rewrite == nil {
		return body, false, nil, false
	}
	out, changed = v.rewrite.apply(body, v.schema)
	if !changed {
		return body, false, nil, false
	}
	// Fewer or more members can break minProperties, uniqueItems, not …
	doc, err = parse(out, v.limits)
	if errors.As(err, &bad) {
		return nil, false, []Issue{{bad.Field, bad.Message}}, true
	}
	if issues = v.rule.check(doc); issues != nil {
		return nil, false, issues, false
	}
	return out, true, nil, false
}

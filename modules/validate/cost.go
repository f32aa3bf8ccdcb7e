package validate

import (
	"reflect"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxVisits bounds how often schemas are applied to values in one check. Where a
// schema leads back to itself by two ways, each level of a body doubles that:
// sixty brackets would keep a processor busy for years.
const maxVisits = 2_000_000

// tooCostly is what a body is told that would take more.
const tooCostly = "is nested in a way that takes too long to check"

// visits counts how often schemas would be applied to a value and what is in it,
// without applying any: it takes a step for each pair of a schema and a value,
// however often the pair comes up. It counts no further than most.
type visits struct {
	known map[visit]int
	most  int
}

// visit is a schema and the object or array that it is applied to; 0 for others.
type visit struct {
	schema *jsonschema.Schema
	value  uintptr
}

// tooManyVisits tells whether checking a value takes more than is allowed.
func tooManyVisits(s *jsonschema.Schema, v any) bool {
	count := visits{known: map[visit]int{}, most: maxVisits}
	return count.of(s, v) >= maxVisits
}

func (c *visits) of(s *jsonschema.Schema, v any) int {
	if s == nil {
		return 0
	}
	at := visit{schema: s}
	switch v.(type) {
	case map[string]any, []any:
		at.value = reflect.ValueOf(v).Pointer()
	}
	if n, ok := c.known[at]; ok {
		return n
	}
	if len(c.known) == c.most { // so many pairs are at least as many visits
		return c.most
	}
	c.known[at] = 0 // a reference that goes round in a circle
	n := 1
	for _, part := range inPlaceSchemas(s) {
		n = min(c.most, n+c.of(part, v))
	}
	switch v := v.(type) {
	case map[string]any:
		n = c.members(n, s, v)
	case []any:
		for i, item := range v {
			if n == c.most {
				break
			}
			for _, part := range itemSchemas(s, i) {
				n = min(c.most, n+c.of(part, item))
			}
		}
	}
	c.known[at] = n
	return n
}

func (c *visits) members(n int, s *jsonschema.Schema, obj map[string]any) int {
	for name, member := range obj {
		if n == c.most {
			break
		}
		n += c.of(s.Properties[name], member) + c.of(s.PropertyNames, nil) + c.of(s.UnevaluatedProperties, member)
		for _, p := range s.PatternProperties { // as if all did match
			n = min(c.most, n+c.of(p, member))
		}
		if rest, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
			n += c.of(rest, member)
		}
		n = min(c.most, n)
	}
	return n
}

// inPlaceSchemas are those within a schema that apply to the same value.
func inPlaceSchemas(s *jsonschema.Schema) []*jsonschema.Schema {
	all := slices.Concat([]*jsonschema.Schema{s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else}, s.AllOf, s.AnyOf, s.OneOf, choices(s))
	if s.DynamicRef != nil {
		all = append(all, s.DynamicRef.Ref)
	}
	for _, part := range s.DependentSchemas {
		all = append(all, part)
	}
	for _, dep := range s.Dependencies {
		if part, ok := dep.(*jsonschema.Schema); ok {
			all = append(all, part)
		}
	}
	return slices.DeleteFunc(all, func(s *jsonschema.Schema) bool { return s == nil })
}

// loops knows which schemas lead back to themselves, or to one that does.
type loops map[*jsonschema.Schema]loopState

type loopState uint8

const (
	entered loopState = iota + 1 // and not left: whoever comes here again has gone round
	straight
	looping
)

// leadsBack looks at each schema once, however often it is asked.
func (l loops) leadsBack(s *jsonschema.Schema) bool {
	if s == nil {
		return false
	}
	if state := l[s]; state != 0 {
		return state != straight
	}
	l[s] = entered
	if s.DynamicRef != nil || s.RecursiveRef != nil || slices.ContainsFunc(subschemas(s), l.leadsBack) {
		l[s] = looping
		return true
	}
	l[s] = straight
	return false
}

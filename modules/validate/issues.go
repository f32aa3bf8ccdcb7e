package validate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxIssues bounds how many issues one answer lists; the rest are counted.
const maxIssues = 100

// Issue is one thing that is wrong with a request.
type Issue struct {
	// Where: a path into the body such as items[2].price, or query.page. Empty
	// for the body as a whole.
	Field string

	// What the value must be, for people. It never quotes the value.
	Message string
}

// libraryIssues checks a value by a schema as the library understands it, and
// returns everything that is wrong with it. at is where in the document it stands.
func libraryIssues(s *jsonschema.Schema, v any, at []step) []Issue {
	err := s.Validate(v)
	if err == nil {
		return nil
	}
	var verr *jsonschema.ValidationError
	if !errors.As(err, &verr) {
		return []Issue{{fieldPath(at), "could not be validated"}}
	}
	c := collector{doc: v, base: at}
	c.add(verr)
	return c.issues
}

// tidy sorts, removes repetitions and bounds the list, in which so many more are
// already missing.
func tidy(issues []Issue, missing int) []Issue {
	slices.SortFunc(issues, func(a, b Issue) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	issues = slices.Compact(issues)
	if more := len(issues) - maxIssues + missing; more > 0 && len(issues) >= maxIssues {
		issues = append(issues[:maxIssues:maxIssues], Issue{Message: fmt.Sprintf("has %d more errors", more)})
	}
	return issues
}

// collector flattens the library's tree of errors: one issue for each thing a
// client can repair, none for the keywords in between.
type collector struct {
	doc    any
	base   []step // where doc stands
	issues []Issue
}

// steps returns where an error is.
func (c *collector) steps(e *jsonschema.ValidationError) []step {
	return append(slices.Clone(c.base), stepsIn(c.doc, e.InstanceLocation)...)
}

func (c *collector) add(e *jsonschema.ValidationError) {
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range e.Causes {
			c.add(cause)
		}
	case *kind.AnyOf:
		c.alternatives(e)
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			c.at(e, "matches more than one of the forms of which only one is allowed")
			return
		}
		c.alternatives(e)
	case *kind.Required:
		c.each(e, k.Missing, "is required")
	case *kind.Dependency:
		c.each(e, k.Missing, fmt.Sprintf("is required together with %s", shorten(k.Prop)))
	case *kind.DependentRequired:
		c.each(e, k.Missing, fmt.Sprintf("is required together with %s", shorten(k.Prop)))
	case *kind.AdditionalProperties:
		c.each(e, k.Properties, "is not allowed")
	case *kind.PropertyNames:
		c.each(e, []string{k.Property}, "is not an allowed name")
	default:
		c.at(e, message(k))
	}
}

func (c *collector) at(e *jsonschema.ValidationError, msg string) {
	c.issues = append(c.issues, Issue{fieldPath(c.steps(e)), msg})
}

// each adds one issue for every named member of the object at e.
func (c *collector) each(e *jsonschema.ValidationError, names []string, msg string) {
	at := c.steps(e)
	for _, name := range names {
		c.issues = append(c.issues, Issue{fieldPath(append(at, step{name: name})), msg})
	}
}

// alternatives reports a value that none of several schemas accepts. When one
// of them is clearly meant (it alone accepts the value's type and its constant
// members), its own errors help more than "none matches".
func (c *collector) alternatives(e *jsonschema.ValidationError) {
	depth := len(e.InstanceLocation)
	var meant []*jsonschema.ValidationError
	var wanted []string
	for _, cause := range e.Causes {
		t := typeMismatch(cause, depth)
		if t == nil {
			meant = append(meant, cause)
			continue
		}
		wanted = append(wanted, t.Want...)
	}
	if len(meant) == 0 && len(wanted) > 0 {
		slices.Sort(wanted)
		c.at(e, mustBeTypes(slices.Compact(wanted)))
		return
	}
	if len(meant) > 1 {
		meant = slices.DeleteFunc(meant, contradictsConstant)
	}
	if len(meant) != 1 {
		c.at(e, "does not match any of the allowed forms")
		return
	}
	c.add(meant[0])
}

// typeMismatch returns the error that says the value itself, not something in
// it, has the wrong type.
func typeMismatch(e *jsonschema.ValidationError, depth int) *kind.Type {
	if t, ok := e.ErrorKind.(*kind.Type); ok && len(e.InstanceLocation) == depth {
		return t
	}
	if _, ok := e.ErrorKind.(*kind.Reference); ok && len(e.Causes) == 1 {
		return typeMismatch(e.Causes[0], depth)
	}
	return nil
}

// contradictsConstant tells whether a const or enum refused, the way schemas
// mark which alternative a value means to be.
func contradictsConstant(e *jsonschema.ValidationError) bool {
	switch e.ErrorKind.(type) {
	case *kind.Const, *kind.Enum:
		return true
	}
	return slices.ContainsFunc(e.Causes, contradictsConstant)
}

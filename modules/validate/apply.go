package validate

import (
	"encoding/json"
	"math/big"
	"strconv"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// enoughIssues is from how many on they are only counted: an answer lists
// maxIssues of them.
const enoughIssues = 1000

// checking is one pass of one value through the rules.
type checking struct {
	path   []step
	issues []Issue
	more   int // issues that are not in the list
}

// check returns everything that is wrong with a value, sorted by field; nil if
// nothing is.
func (r *rule) check(doc any) []Issue {
	if r != nil && r.loop != nil && tooManyVisits(r.loop, doc) {
		return []Issue{{Message: tooCostly}}
	}
	var c checking
	c.value(r, doc)
	if c.issues == nil {
		return nil
	}
	return tidy(c.issues, c.more)
}

func (c *checking) fail(message string) {
	if len(c.issues) == enoughIssues {
		c.more++
		return
	}
	c.issues = append(c.issues, Issue{fieldPath(c.path), message})
}

// failAt reports a member of the value at hand.
func (c *checking) failAt(member, message string) {
	c.path = append(c.path, step{name: member})
	c.fail(message)
	c.path = c.path[:len(c.path)-1]
}

// value checks by one rule. As in the library, a value of a wrong type, choice
// or format is not looked at any further.
func (c *checking) value(r *rule, v any) {
	switch {
	case r == nil:
		return
	case r.library != nil:
		c.byLibrary(r.library, v)
		return
	case r.refused != "":
		c.fail(r.refused)
		return
	case r.types != 0 && r.types&typesOf(r.types, v) == 0:
		c.fail(r.notType)
		return
	case r.choices != nil && !r.choices[choiceOf(v)]:
		c.fail(r.notOne)
		return
	case r.format != nil && r.format.Validate(v) != nil:
		c.fail(r.noFormat)
		return
	}
	for _, part := range r.all {
		c.value(part, v)
	}
	switch v := v.(type) {
	case map[string]any:
		if r.object != nil {
			c.object(r.object, v)
		}
	case []any:
		if r.array != nil {
			c.array(r.array, v)
		}
	case string:
		if r.text != nil {
			c.text(r.text, v)
		}
	case json.Number:
		if r.number != nil {
			r.number.broken(v, c.fail)
		}
	}
}

// noChoice stands for arrays and objects, which Go cannot compare.
var noChoice any = struct{}{}

// wholeNumber and exactNumber are numbers in the one way that equal ones share.
type (
	wholeNumber int64
	exactNumber string
)

// choiceOf returns a value such that equal ones are equal in Go.
func choiceOf(v any) any {
	switch v := v.(type) {
	case nil, bool, string:
		return v
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return wholeNumber(n)
		}
		if exact, ok := new(big.Rat).SetString(string(v)); ok && exact.IsInt() && exact.Num().IsInt64() {
			return wholeNumber(exact.Num().Int64())
		} else if ok {
			return exactNumber(exact.RatString())
		}
	}
	return noChoice
}

// typesOf returns the type of a value. Whether a number is whole is found out
// only if it is asked for.
func typesOf(wanted valueTypes, v any) valueTypes {
	switch v := v.(type) {
	case nil:
		return typeNull
	case bool:
		return typeBoolean
	case string:
		return typeString
	case []any:
		return typeArray
	case map[string]any:
		return typeObject
	case json.Number:
		if wanted&typeNumber == 0 && wanted&typeInteger != 0 && isWhole(v) {
			return typeInteger
		}
		return typeNumber
	}
	return 0
}

func (c *checking) object(o *objectRule, obj map[string]any) {
	if o.min.message != "" && len(obj) < o.min.n {
		c.fail(o.min.message)
	}
	if o.max.message != "" && len(obj) > o.max.n {
		c.fail(o.max.message)
	}
	for _, name := range o.required {
		if _, ok := obj[name]; !ok {
			c.failAt(name, "is required")
		}
	}
	for name, v := range obj {
		c.path = append(c.path, step{name: name})
		c.member(o, name, v)
		c.path = c.path[:len(c.path)-1]
	}
}

func (c *checking) member(o *objectRule, name string, v any) {
	r, known := o.members[name]
	c.value(r, v)
	for _, p := range o.patterns {
		if p.name.MatchString(name) {
			known = true
			c.value(p.rule, v)
		}
	}
	switch {
	case known:
	case o.closed:
		c.fail("is not allowed")
	default:
		c.value(o.rest, v)
	}
}

func (c *checking) array(a *arrayRule, items []any) {
	if a.min.message != "" && len(items) < a.min.n {
		c.fail(a.min.message)
	}
	if a.max.message != "" && len(items) > a.max.n {
		c.fail(a.max.message)
	}
	if a.items == nil {
		return
	}
	for i, item := range items {
		c.path = append(c.path, step{index: i, isIndex: true})
		c.value(a.items, item)
		c.path = c.path[:len(c.path)-1]
	}
}

func (c *checking) text(t *textRule, s string) {
	if t.min.message != "" && utf8.RuneCountInString(s) < t.min.n {
		c.fail(t.min.message)
	}
	if t.max.message != "" && len(s) > t.max.n && utf8.RuneCountInString(s) > t.max.n {
		c.fail(t.max.message)
	}
	if t.pattern != nil && !t.pattern.MatchString(s) {
		c.fail(t.noPattern)
	}
}

// byLibrary checks a value by what only the library knows.
func (c *checking) byLibrary(s *jsonschema.Schema, v any) {
	for _, issue := range libraryIssues(s, v, c.path) {
		if len(c.issues) == enoughIssues {
			c.more++
			continue
		}
		c.issues = append(c.issues, issue)
	}
}

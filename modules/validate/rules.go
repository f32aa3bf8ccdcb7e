package validate

import (
	"cmp"
	"errors"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// rule is a schema in the form in which values are checked by it. Keywords that
// nearly every API uses are checked here, with messages made in advance; a schema
// with any other is left to the library, which is several times as slow, with all
// that it leads to. Both say the same of every value: a test compares them. A nil
// rule accepts everything. Rules are immutable once built.
type rule struct {
	library *jsonschema.Schema // checks all of it if not nil
	loop    *jsonschema.Schema // whose rule this is, if it leads back to itself

	refused string // by the schema false; "" otherwise

	types    valueTypes // 0: all
	notType  string
	choices  map[any]bool // enum or const, as choiceOf writes them; nil: all
	notOne   string
	format   *jsonschema.Format
	noFormat string

	all []*rule // $ref and allOf, for the same value

	object *objectRule
	array  *arrayRule
	text   *textRule
	number *numberRule
}

type objectRule struct {
	required []string
	members  map[string]*rule
	patterns []patternRule
	rest     *rule // for members that none of those names
	closed   bool  // there must be no such members
	min, max bound
}

type patternRule struct {
	name jsonschema.Regexp
	rule *rule
}

type arrayRule struct {
	items    *rule
	min, max bound
}

type textRule struct {
	min, max  bound
	pattern   jsonschema.Regexp
	noPattern string
}

// bound is a limit of how many there may be; message is "" if there is none.
type bound struct {
	n       int
	message string
}

// valueTypes is a set of JSON types.
type valueTypes uint8

const (
	typeNull valueTypes = 1 << iota
	typeBoolean
	typeNumber
	typeInteger
	typeString
	typeArray
	typeObject
)

var typeBits = map[string]valueTypes{
	"null": typeNull, "boolean": typeBoolean, "number": typeNumber, "integer": typeInteger,
	"string": typeString, "array": typeArray, "object": typeObject,
}

// errUnfit says that a schema can only be checked by the library as a whole.
var errUnfit = errors.New("the schema's parts cannot be checked apart")

// ruleBuilder makes rules of compiled schemas. Schemas that several operations
// lead to share a rule.
type ruleBuilder struct {
	built map[*jsonschema.Schema]*rule
	chain []*jsonschema.Schema // those that apply to one value, while it is walked
	loops loops
}

func newRuleBuilder() *ruleBuilder {
	return &ruleBuilder{built: map[*jsonschema.Schema]*rule{}, loops: loops{}}
}

// rule returns the rule of a schema.
func (b *ruleBuilder) rule(s *jsonschema.Schema) *rule {
	r, err := b.build(s)
	if err != nil {
		// What was begun and not finished must not be used.
		b.built, b.chain = map[*jsonschema.Schema]*rule{}, nil
		r = &rule{library: s}
	}
	if r != nil && b.loops.leadsBack(s) {
		r.loop = s
	}
	return r
}

func (b *ruleBuilder) build(s *jsonschema.Schema) (*rule, error) {
	if s == nil {
		return nil, nil
	}
	if slices.Contains(b.chain, s) || s.DynamicRef != nil || s.RecursiveRef != nil {
		return nil, errUnfit
	}
	if r, ok := b.built[s]; ok {
		return r, nil
	}
	r := new(rule)
	b.built[s] = r
	if s.Bool != nil {
		if !*s.Bool {
			r.refused = message(&kind.FalseSchema{})
		}
		return r, nil
	}
	r.setValue(s)
	if b.beyond(s) || r.library != nil {
		*r = rule{library: s}
		return r, b.visit(s)
	}
	if err := b.inPlace(r, s); err != nil {
		return nil, err
	}
	if alone(s) {
		r.text, r.number = nil, nil
		return r, nil
	}
	// What follows is about other values, with a chain of their own.
	outer := b.chain
	b.chain = nil
	defer func() { b.chain = outer }()
	return r, cmp.Or(b.buildObject(r, s), b.buildArray(r, s))
}

// alone tells whether a reference makes what stands beside it void, as before
// draft 2019-09.
func alone(s *jsonschema.Schema) bool { return s.Ref != nil && s.DraftVersion < 2019 }

// inPlace builds what else applies to the same value.
func (b *ruleBuilder) inPlace(r *rule, s *jsonschema.Schema) error {
	b.chain = append(b.chain, s)
	defer func() { b.chain = b.chain[:len(b.chain)-1] }()
	parts := s.AllOf
	if s.Ref != nil {
		parts = append([]*jsonschema.Schema{s.Ref}, parts...)
	}
	if alone(s) {
		parts = parts[:1]
	}
	for _, part := range parts {
		p, err := b.build(part)
		if err != nil {
			return err
		}
		r.all = append(r.all, p)
	}
	return nil
}

// beyond tells whether a schema has keywords that only the library checks.
func (*ruleBuilder) beyond(s *jsonschema.Schema) bool {
	_, itemList := s.Items.([]*jsonschema.Schema)
	return s.Not != nil || s.AnyOf != nil || s.OneOf != nil || s.If != nil || s.Extensions != nil ||
		s.PropertyNames != nil || s.Dependencies != nil || s.DependentRequired != nil || s.DependentSchemas != nil ||
		s.UnevaluatedProperties != nil || s.UnevaluatedItems != nil ||
		s.UniqueItems || s.Contains != nil || itemList || s.AdditionalItems != nil || s.PrefixItems != nil ||
		s.ContentEncoding != nil || s.ContentMediaType != nil || s.ContentSchema != nil || s.MultipleOf != nil
}

// visit looks into what a schema for the library leads to: a reference to
// whatever stands around it would be lost if the library began in the middle.
func (b *ruleBuilder) visit(s *jsonschema.Schema) error {
	seen := map[*jsonschema.Schema]bool{}
	var walk func(*jsonschema.Schema) error
	walk = func(s *jsonschema.Schema) error {
		if s == nil || seen[s] {
			return nil
		}
		seen[s] = true
		if s.DynamicRef != nil || s.RecursiveRef != nil {
			return errUnfit
		}
		for _, part := range subschemas(s) {
			if err := walk(part); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(s)
}

// setValue sets what concerns values of any type, and texts and numbers.
func (r *rule) setValue(s *jsonschema.Schema) {
	if s.Types != nil && !s.Types.IsEmpty() {
		names := s.Types.ToStrings()
		for _, name := range names {
			r.types |= typeBits[name]
		}
		r.notType = mustBeTypes(names)
	}
	switch {
	case s.Const != nil && s.Enum != nil:
		r.library = s
	case s.Const != nil:
		r.setChoices(s, []any{*s.Const}, message(&kind.Const{Want: *s.Const}))
	case s.Enum != nil:
		r.setChoices(s, s.Enum.Values, message(&kind.Enum{Want: s.Enum.Values}))
	}
	if s.Format != nil {
		r.format, r.noFormat = s.Format, mustBeFormat(s.Format.Name)
	}
	if s.MinLength != nil || s.MaxLength != nil || s.Pattern != nil {
		r.text = &textRule{
			min:     boundOf(s.MinLength, func(n int) jsonschema.ErrorKind { return &kind.MinLength{Want: n} }),
			max:     boundOf(s.MaxLength, func(n int) jsonschema.ErrorKind { return &kind.MaxLength{Want: n} }),
			pattern: s.Pattern,
		}
		if s.Pattern != nil {
			r.text.noPattern = message(&kind.Pattern{Want: s.Pattern.String()})
		}
	}
	r.number = newNumberRule(s)
}

func (r *rule) setChoices(s *jsonschema.Schema, values []any, notOne string) {
	r.choices, r.notOne = make(map[any]bool, len(values)), notOne
	for _, v := range values {
		key := choiceOf(v)
		if key == noChoice { // arrays and objects
			r.library = s
		}
		r.choices[key] = true
	}
}

func boundOf(n *int, broken func(int) jsonschema.ErrorKind) bound {
	if n == nil {
		return bound{}
	}
	return bound{*n, message(broken(*n))}
}

func (b *ruleBuilder) buildObject(r *rule, s *jsonschema.Schema) error {
	if len(s.Required)+len(s.Properties)+len(s.PatternProperties) == 0 && s.AdditionalProperties == nil &&
		s.MinProperties == nil && s.MaxProperties == nil {
		return nil
	}
	o := &objectRule{
		required: s.Required, members: make(map[string]*rule, len(s.Properties)),
		min: boundOf(s.MinProperties, func(n int) jsonschema.ErrorKind { return &kind.MinProperties{Want: n} }),
		max: boundOf(s.MaxProperties, func(n int) jsonschema.ErrorKind { return &kind.MaxProperties{Want: n} }),
	}
	r.object = o
	for name, p := range s.Properties {
		member, err := b.build(p)
		if err != nil {
			return err
		}
		o.members[name] = member
	}
	for name, p := range s.PatternProperties {
		member, err := b.build(p)
		if err != nil {
			return err
		}
		o.patterns = append(o.patterns, patternRule{name, member})
	}
	switch rest := s.AdditionalProperties.(type) {
	case bool:
		o.closed = !rest
	case *jsonschema.Schema:
		var err error
		o.rest, err = b.build(rest)
		return err
	}
	return nil
}

func (b *ruleBuilder) buildArray(r *rule, s *jsonschema.Schema) error {
	items := s.Items2020
	if items == nil {
		items, _ = s.Items.(*jsonschema.Schema)
	}
	if items == nil && s.MinItems == nil && s.MaxItems == nil {
		return nil
	}
	r.array = &arrayRule{
		min: boundOf(s.MinItems, func(n int) jsonschema.ErrorKind { return &kind.MinItems{Want: n} }),
		max: boundOf(s.MaxItems, func(n int) jsonschema.ErrorKind { return &kind.MaxItems{Want: n} }),
	}
	var err error
	r.array.items, err = b.build(items)
	return err
}

// subschemas are all the schemas directly within one.
func subschemas(s *jsonschema.Schema) []*jsonschema.Schema {
	parts := slices.Concat([]*jsonschema.Schema{
		s.Ref, s.Not, s.If, s.Then, s.Else, s.PropertyNames, s.UnevaluatedProperties, s.Contains,
		s.Items2020, s.UnevaluatedItems, s.ContentSchema,
	}, s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems, choices(s))
	for _, m := range []map[string]*jsonschema.Schema{s.Properties, s.DependentSchemas} {
		for _, p := range m {
			parts = append(parts, p)
		}
	}
	for _, p := range s.PatternProperties {
		parts = append(parts, p)
	}
	others := []any{s.Items, s.AdditionalItems, s.AdditionalProperties}
	for _, d := range s.Dependencies {
		others = append(others, d)
	}
	for _, other := range others {
		switch other := other.(type) {
		case *jsonschema.Schema:
			parts = append(parts, other)
		case []*jsonschema.Schema:
			parts = append(parts, other...)
		}
	}
	return parts
}

package validate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// chooseKeyword says in schemas made of an OpenAPI document what discriminator
// says there: which schema holds, by the value of one member.
const chooseKeyword = "x-fairway-choose"

// withoutChoice marks the pointer of a schema that is meant as a part of another,
// where its discriminator has chosen already.
const withoutChoice = "as-part:"

const componentSchemas = "/components/schemas/"

// choice is chooseKeyword, compiled. It accepts what is no object and what names
// no schema: other keywords refuse those.
type choice struct {
	property string
	schemas  map[string]*jsonschema.Schema
}

// Validate checks a value by the schema that it names.
func (c *choice) Validate(ctx *jsonschema.ValidatorContext, v any) {
	obj, _ := v.(map[string]any)
	name, _ := obj[c.property].(string)
	if s := c.schemas[name]; s != nil {
		if err := ctx.Validate(s, v, nil); err != nil {
			ctx.AddErr(err)
		}
	}
}

// registerChoice teaches a compiler chooseKeyword.
func registerChoice(c *jsonschema.Compiler) {
	c.AssertVocabs()
	c.RegisterVocabulary(&jsonschema.Vocabulary{URL: "fairway:choose", Compile: compileChoice})
}

func compileChoice(ctx *jsonschema.CompilerContext, obj map[string]any) (jsonschema.SchemaExt, error) {
	choose, ok := obj[chooseKeyword].(map[string]any)
	if !ok {
		return nil, nil
	}
	c := &choice{schemas: map[string]*jsonschema.Schema{}}
	c.property, _ = choose["property"].(string)
	refs, _ := choose["schemas"].(map[string]any)
	for name, ref := range refs {
		s, err := ctx.EnqueueRef(fmt.Sprint(ref))
		if err != nil {
			return nil, err
		}
		c.schemas[name] = s
	}
	return c, nil
}

// choices are the schemas that a schema's discriminator leads to.
func choices(s *jsonschema.Schema) []*jsonschema.Schema {
	var all []*jsonschema.Schema
	for _, ext := range s.Extensions {
		if c, ok := ext.(*choice); ok {
			all = slices.AppendSeq(all, maps.Values(c.schemas))
		}
	}
	return all
}

// discriminate replaces, in the copy of a schema, the alternatives of a
// discriminator by the choice among them. Alternatives that are no references
// cannot be named and stay (OpenAPI 3.1, Discriminator Object).
func (s *schemaSet) discriminate(out, schema map[string]any, ptr string) error {
	d := node{doc: s.doc, v: schema["discriminator"], ptr: ptr + "/discriminator"}
	if d.v == nil {
		return nil
	}
	property := d.at("propertyName").text()
	if property == "" {
		return d.at("propertyName").errorf("must name a member")
	}
	keyword, targets, others := s.alternatives(schema, ptr)
	mapped, err := s.mapping(d.at("mapping"), targets)
	if err != nil || len(mapped) == 0 {
		return err
	}
	refs, names := map[string]any{}, []any{}
	for _, name := range slices.Sorted(maps.Keys(mapped)) {
		s.need(mapped[name])
		refs[name] = s.urlOf(mapped[name])
		names = append(names, name)
	}
	choose := map[string]any{
		"type": "object", "required": []any{property},
		"properties":  map[string]any{property: map[string]any{"enum": names}},
		chooseKeyword: map[string]any{"property": property, "schemas": refs},
	}
	if keyword != "" {
		delete(out, keyword)
	}
	if len(others) > 0 {
		all, _ := s.copyList(others, ptr+"/"+keyword)
		out[keyword] = append([]any{choose}, all.([]any)...)
		return nil
	}
	parts, _ := out["allOf"].([]any)
	out["allOf"] = append([]any{choose}, parts...)
	return nil
}

// alternatives returns what a discriminator chooses from, by name: the references
// among oneOf or anyOf, else the schemas that have this one as a part.
func (s *schemaSet) alternatives(schema map[string]any, ptr string) (keyword string, targets map[string]string, others []any) {
	targets = map[string]string{}
	for _, keyword = range []string{"oneOf", "anyOf"} {
		list, ok := schema[keyword].([]any)
		if !ok {
			continue
		}
		for _, item := range list {
			if target := referenceIn(item); target != "" {
				targets[lastToken(target)] = target
			} else {
				others = append(others, item)
			}
		}
		return keyword, targets, others
	}
	name, ok := strings.CutPrefix(ptr, componentSchemas)
	if !ok || !s.hasHeirs(schema) {
		return "", nil, nil
	}
	for other := range s.components() {
		if s.descends(other, ptr, 0) {
			targets[unescapeToken(other)] = componentSchemas + other
		}
	}
	if len(targets) > 0 {
		targets[unescapeToken(name)] = withoutChoice + ptr
	}
	return "", targets, nil
}

// mapping adds the names that a document gives to schemas by itself. Those of
// schemas that are no alternatives have no meaning here.
func (s *schemaSet) mapping(m node, targets map[string]string) (map[string]string, error) {
	all := maps.Clone(targets)
	if m.v != nil && m.object() == nil {
		return nil, m.errorf("must be an object")
	}
	for value := range m.object() {
		target := m.at(value).text()
		if !strings.HasPrefix(target, "#/") {
			target = "#" + componentSchemas + escapeToken(target)
		}
		ptr := fragment(target)
		if _, err := lookup(s.doc, ptr); err != nil {
			return nil, m.at(value).errorf("%w", err)
		}
		for _, known := range targets {
			if strings.TrimPrefix(known, withoutChoice) == ptr {
				all[value] = known
			}
		}
	}
	return all, nil
}

// components are the document's own schemas, by the tokens of their names.
func (s *schemaSet) components() map[string]any {
	if s.named == nil {
		s.named = map[string]any{}
		all, _ := lookup(s.doc, strings.TrimSuffix(componentSchemas, "/"))
		schemas, _ := all.(map[string]any)
		for name, schema := range schemas {
			s.named[escapeToken(name)] = schema
		}
	}
	return s.named
}

// descends tells whether a component has the schema at ptr as a part, by allOf.
func (s *schemaSet) descends(name, ptr string, depth int) bool {
	schema, _ := s.components()[name].(map[string]any)
	list, _ := schema["allOf"].([]any)
	return depth < maxReferences && slices.ContainsFunc(list, func(item any) bool {
		target := referenceIn(item)
		next, ok := strings.CutPrefix(target, componentSchemas)
		return target == ptr || ok && s.descends(next, ptr, depth+1)
	})
}

// hasHeirs tells whether a schema's discriminator is about those that have the
// schema as a part.
func (s *schemaSet) hasHeirs(schema map[string]any) bool {
	return schema["discriminator"] != nil && schema["oneOf"] == nil && schema["anyOf"] == nil
}

// asPart returns the pointer that a reference out of allOf leads to.
func (s *schemaSet) asPart(target string) string {
	v, _ := lookup(s.doc, target)
	if schema, ok := v.(map[string]any); ok && s.hasHeirs(schema) {
		return withoutChoice + target
	}
	return target
}

// inAllOf tells whether the keyword at a pointer stands in an item of allOf.
func inAllOf(ptr string) bool {
	tokens := strings.Split(ptr, "/")
	return len(tokens) > 3 && tokens[len(tokens)-3] == "allOf"
}

// referenceIn returns the pointer within the document that a schema refers to.
func referenceIn(v any) string {
	schema, _ := v.(map[string]any)
	ref, _ := schema["$ref"].(string)
	if !strings.HasPrefix(ref, "#/") {
		return ""
	}
	return fragment(ref)
}

func lastToken(ptr string) string {
	return unescapeToken(ptr[strings.LastIndexByte(ptr, '/')+1:])
}

package validate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaSet gathers the schemas that an OpenAPI document has in many places
// into one JSON Schema document and compiles that, once. Each schema stands
// under "$defs" by the pointer it has in the OpenAPI document, and references
// are rewritten to match; so the compiler sees each schema once, and an error
// can be given the pointer its author knows.
type schemaSet struct {
	doc  any // the OpenAPI document
	v30  bool
	not  string // readOnly or writeOnly: such members are not required
	defs map[string]any
	todo []string // pointers whose schemas are still to be copied
	c    *jsonschema.Compiler

	named map[string]any // see components
}

const schemaSetURL = "openapi:schemas"

func newSchemaSet(doc any, v30 bool, not string) *schemaSet {
	c := newCompiler()
	c.UseLoader(nowhere{})
	registerFormats(c)
	registerChoice(c)
	if v30 {
		// An OpenAPI 3.0 schema is close to draft 4: exclusiveMinimum is a
		// boolean there, and what stands beside $ref is ignored.
		c.DefaultDraft(jsonschema.Draft4)
	}
	return &schemaSet{doc: doc, v30: v30, not: not, defs: map[string]any{}, c: c}
}

// nowhere refuses to load anything: all schemas are in the document.
type nowhere struct{}

func (nowhere) Load(url string) (any, error) {
	return nil, fmt.Errorf("a reference leaves the document: %q", url)
}

// need makes sure that the schema at a pointer is in the set.
func (s *schemaSet) need(ptr string) {
	if _, ok := s.defs[ptr]; !ok {
		s.defs[ptr] = nil
		s.todo = append(s.todo, ptr)
	}
}

// compile builds the set; schema answers afterwards.
func (s *schemaSet) compile() error {
	for len(s.todo) > 0 {
		ptr := s.todo[0]
		s.todo = s.todo[1:]
		at := strings.TrimPrefix(ptr, withoutChoice)
		schema, err := lookup(s.doc, at)
		if err != nil {
			return err
		}
		if s.defs[ptr], err = s.copyNeeded(schema, at, at == ptr); err != nil {
			return err
		}
	}
	root := map[string]any{s.keyword(): s.defs}
	if err := s.c.AddResource(schemaSetURL, root); err != nil {
		return err
	}
	s.compileLeaves()
	return nil
}

// compileLeaves compiles the members that refer to nothing, one by one. The
// library searches a list of all schemas under way for each that it meets, which
// takes time quadratic in what one schema leads to; those compiled before are not
// on that list. Faults are found again, and reported, with the whole schema.
func (s *schemaSet) compileLeaves() {
	for ptr, def := range s.defs {
		schema, _ := def.(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		for name, p := range properties {
			if !refers(p) {
				_, _ = s.c.Compile(s.location(ptr) + "/properties/" + urlEscape(escapeToken(name)))
			}
		}
	}
}

// refers tells whether there is a reference anywhere in a schema.
func refers(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if name == "$ref" || name == "$dynamicRef" || name == "$recursiveRef" || refers(member) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, refers)
	}
	return false
}

// location is the URL of the schema of a pointer.
func (s *schemaSet) location(ptr string) string { return schemaSetURL + s.urlOf(ptr) }

// urlOf is what a reference to the schema of a pointer says within the set.
func (s *schemaSet) urlOf(ptr string) string {
	return "#/" + s.keyword() + "/" + urlEscape(escapeToken(ptr))
}

func (s *schemaSet) keyword() string {
	if s.v30 {
		return "definitions"
	}
	return "$defs"
}

// schema returns the compiled schema of a pointer that was needed.
func (s *schemaSet) schema(ptr string) (*jsonschema.Schema, error) {
	compiled, err := s.c.Compile(s.location(ptr))
	if err != nil {
		return nil, s.explain(err)
	}
	return compiled, nil
}

// explain gives an error the pointer that the document's author knows.
func (s *schemaSet) explain(err error) error {
	var invalid *jsonschema.SchemaValidationError
	var verr *jsonschema.ValidationError
	if !errors.As(err, &invalid) || !errors.As(invalid.Err, &verr) {
		return rephrase(explainCompile(err), s.keyword())
	}
	var lines []string
	for _, leaf := range leaves(verr) {
		tokens := leaf.InstanceLocation
		where := pointer(tokens)
		if len(tokens) > 1 && tokens[0] == s.keyword() {
			where = strings.TrimPrefix(tokens[1], withoutChoice) + pointer(tokens[2:])
		}
		lines = append(lines, fmt.Sprintf("at %s: %s", where, message(leaf.ErrorKind)))
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	return errors.New(strings.Join(lines[:min(3, len(lines))], "; "))
}

// rephrase undoes the set's own pointers in an error's text.
func rephrase(err error, keyword string) error {
	text := err.Error()
	prefix := "/" + keyword + "/"
	i := strings.Index(text, prefix)
	if i < 0 {
		return err
	}
	head, rest := text[:i], text[i+len(prefix):]
	end := strings.IndexAny(rest, "/:\" ")
	if end < 0 {
		end = len(rest)
	}
	return errors.New(head + unescapeToken(rest[:end]) + rest[end:])
}

// Keywords by what they hold. Anything else is copied as it is, except for
// what only documentation needs.
var (
	schemaMaps  = []string{"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
	schemaLists = []string{"allOf", "anyOf", "oneOf", "prefixItems"}
	schemaOnes  = []string{
		"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else",
		"unevaluatedItems", "unevaluatedProperties", "contentSchema", "additionalItems",
	}
	documentary = []string{
		"example", "examples", "xml", "externalDocs", "discriminator", "description", "title", "deprecated", chooseKeyword,
	}
)

// copySchema returns a copy of a schema with its references rewritten, with
// discriminators, and for OpenAPI 3.0 nullable, said in JSON Schema.
func (s *schemaSet) copySchema(v any, ptr string) (any, error) {
	return s.copyNeeded(v, ptr, true)
}

func (s *schemaSet) copyNeeded(v any, ptr string, choose bool) (any, error) {
	schema, ok := v.(map[string]any)
	if !ok {
		if _, isBool := v.(bool); isBool && !s.v30 {
			return v, nil
		}
		return nil, fmt.Errorf("at %s: a schema must be an object", ptr)
	}
	out := make(map[string]any, len(schema))
	for name, value := range schema {
		copied, err := s.copyKeyword(name, value, ptr+"/"+escapeToken(name))
		if err != nil {
			return nil, err
		}
		if copied != nil || !slices.Contains(documentary, name) {
			out[name] = copied
		}
	}
	if s.v30 {
		nullable(out)
	}
	s.require(out, schema)
	if !choose {
		return out, nil
	}
	return out, s.discriminate(out, schema, ptr)
}

func (s *schemaSet) copyKeyword(name string, value any, ptr string) (any, error) {
	switch {
	case name == "$ref":
		return s.reference(value, ptr)
	case slices.Contains(documentary, name):
		return nil, nil
	case slices.Contains(schemaMaps, name):
		members, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("at %s: must be an object", ptr)
		}
		out := make(map[string]any, len(members))
		for key, member := range members {
			copied, err := s.copySchema(member, ptr+"/"+escapeToken(key))
			if err != nil {
				return nil, err
			}
			out[key] = copied
		}
		return out, nil
	case slices.Contains(schemaLists, name):
		return s.copyList(value, ptr)
	case slices.Contains(schemaOnes, name):
		if _, isBool := value.(bool); isBool {
			return value, nil // additionalProperties: false, in 3.0 too
		}
		return s.copySchema(value, ptr)
	}
	return value, nil
}

func (s *schemaSet) copyList(value any, ptr string) (any, error) {
	items, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("at %s: must be an array", ptr)
	}
	out := make([]any, len(items))
	for i, item := range items {
		copied, err := s.copySchema(item, fmt.Sprintf("%s/%d", ptr, i))
		if err != nil {
			return nil, err
		}
		out[i] = copied
	}
	return out, nil
}

func (s *schemaSet) reference(value any, ptr string) (any, error) {
	ref, ok := value.(string)
	if !ok {
		return nil, fmt.Errorf("at %s: must be a string", ptr)
	}
	target, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil, fmt.Errorf("at %s: %q leaves the document", ptr, ref)
	}
	if target != "" && !strings.HasPrefix(target, "/") {
		return ref, nil // an anchor
	}
	target = fragment("#" + target)
	if _, err := lookup(s.doc, target); err != nil {
		return nil, fmt.Errorf("at %s: %w", ptr, err)
	}
	if inAllOf(ptr) {
		target = s.asPart(target)
	}
	s.need(target)
	return s.urlOf(target), nil
}

// nullable says by type what OpenAPI 3.0 says by a keyword of its own. Without
// a type the keyword has no effect (OpenAPI 3.0.3, Schema Object).
func nullable(schema map[string]any) {
	if null, _ := schema["nullable"].(bool); null {
		if t, ok := schema["type"].(string); ok {
			schema["type"] = []any{t, "null"}
		}
	}
	delete(schema, "nullable")
}

// require drops required members that are readOnly in requests, writeOnly in
// responses: the requirement holds for the other only (OpenAPI 3.0.3, Schema
// Object, readOnly and writeOnly).
func (s *schemaSet) require(out, schema map[string]any) {
	required, ok := schema["required"].([]any)
	properties, hasProperties := schema["properties"].(map[string]any)
	if !ok || !hasProperties {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(required), func(name any) bool {
		n, _ := name.(string)
		return s.oneWay(properties[n], 0)
	})
	if len(kept) == 0 && len(required) > 0 {
		delete(out, "required") // draft 4 wants at least one
		return
	}
	out["required"] = kept
}

// oneWay tells whether a member is not for this direction.
func (s *schemaSet) oneWay(v any, depth int) bool {
	schema, ok := v.(map[string]any)
	if !ok || depth > maxReferences {
		return false
	}
	if marked, _ := schema[s.not].(bool); marked {
		return true
	}
	ref, _ := schema["$ref"].(string)
	if !strings.HasPrefix(ref, "#/") {
		return false
	}
	target, err := lookup(s.doc, fragment(ref))
	return err == nil && s.oneWay(target, depth+1)
}

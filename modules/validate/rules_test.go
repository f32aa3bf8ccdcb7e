package validate

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// schemas draws schemas of the keywords that rules check themselves, now and then
// with one that they leave to the library.
func schemas(depth int) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		s := map[string]any{}
		add := func(name string, v any) {
			if rapid.IntRange(0, 2).Draw(t, "with "+name) == 0 {
				s[name] = v
			}
		}
		types := []string{"null", "boolean", "number", "integer", "string", "array", "object"}
		add("type", rapid.SliceOfNDistinct(rapid.SampledFrom(types), 1, 3, rapid.ID[string]).Draw(t, "type"))
		n := rapid.IntRange(0, 3)
		for _, name := range []string{"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minimum", "maximum", "exclusiveMinimum"} {
			if rapid.IntRange(0, 6).Draw(t, "with "+name) == 0 {
				s[name] = n.Draw(t, name)
			}
		}
		switch rapid.IntRange(0, 12).Draw(t, "choice") {
		case 0:
			s["enum"] = []any{"a", nil, true}
		case 1:
			s["enum"] = []any{1, "a"}
		case 2:
			s["const"] = "b"
		case 3:
			s["pattern"] = "^a"
		case 4:
			s["format"] = "date"
		case 5:
			s["uniqueItems"] = true
		}
		if depth == 0 {
			return s
		}
		inner := schemas(depth - 1)
		add("properties", map[string]any{"a": inner.Draw(t, "a"), "b": inner.Draw(t, "b")})
		add("required", []string{"a", "c"})
		add("additionalProperties", rapid.SampledFrom([]any{true, false, inner.Draw(t, "rest")}).Draw(t, "additional"))
		add("patternProperties", map[string]any{"^[ac]": inner.Draw(t, "pattern")})
		add("items", inner.Draw(t, "items"))
		add("allOf", []any{inner.Draw(t, "all"), map[string]any{"$ref": "#/$defs/d"}})
		switch rapid.IntRange(0, 9).Draw(t, "alternatives") {
		case 0:
			s["anyOf"] = []any{inner.Draw(t, "any"), inner.Draw(t, "other")}
		case 1:
			s["not"] = inner.Draw(t, "not")
		}
		return s
	})
}

func documents(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 5
		if depth > 0 {
			kinds = 8
		}
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return rapid.SampledFrom([]any{0, 1, 2.0, 2.5, -1, json.Number("1e2"), json.Number("1.0")}).Draw(t, "number")
		case 3, 4, 5:
			return rapid.SampledFrom([]any{"", "a", "b", "abcd", "2026-11-22", "ä"}).Draw(t, "text")
		case 6:
			return rapid.SliceOfN(documents(depth-1), 0, 3).Draw(t, "array")
		}
		return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "x.y"}), documents(depth-1), 0, 4).Draw(t, "object")
	})
}

// Whatever the schema and the document, rules say what the library says.
func TestRules_SayWhatTheLibrarySays(t *testing.T) {
	wrong := 0
	rapid.Check(t, func(rt *rapid.T) {
		s := schemas(2).Draw(rt, "schema")
		s["$defs"] = map[string]any{"d": schemas(0).Draw(rt, "definition")}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := parse(text, schemaLimits)
		if err != nil {
			t.Fatal(err)
		}
		c := newCompiler()
		if err := c.AddResource("test:schema", doc); err != nil {
			t.Fatal(err)
		}
		compiled := c.MustCompile("test:schema")
		r := newRuleBuilder().rule(compiled)
		for range 5 {
			body, err := json.Marshal(documents(2).Draw(rt, "document"))
			if err != nil {
				t.Fatal(err)
			}
			v, err := parse(body, Limits{}.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			issues := r.check(v)
			if issues != nil {
				wrong++
			}
			sameAsLibrary(t, fmt.Sprintf("%s against %s", body, text), compiled, v, issues)
		}
	})
	if wrong == 0 {
		t.Error("no document was wrong")
	}
}

// Beyond a thousand errors they are only counted, however many there are.
func TestRules_CountWhatTheyDoNotList(t *testing.T) {
	r := newRuleBuilder().rule(mustSchema(t, `{"items":{"type":"string"}}`))
	doc := make([]any, 5000)
	for i := range doc {
		doc[i] = true
	}
	issues := r.check(doc)
	if n := len(issues); n != maxIssues+1 || issues[maxIssues].Message != "has 4900 more errors" {
		t.Errorf("%d issues, the last %v", n, issues[n-1])
	}
}

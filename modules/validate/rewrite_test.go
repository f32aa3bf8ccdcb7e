package validate

import (
	"testing"
)

func TestRewrite_StripsWhatNoSchemaDeclares(t *testing.T) {
	cases := map[string]struct{ schema, doc, want string }{
		"unknown member":                 {`{"properties":{"a":{}}}`, `{"a":1,"b":2}`, `{"a":1}`},
		"nothing to do keeps every byte": {`{"properties":{"a":{}}}`, ` { "a" : 1.50 } `, ` { "a" : 1.50 } `},
		"numbers and escapes stay":       {`{"properties":{"a":{}}}`, `{"x":1,"a":[1.50,1E2,"\u0041\""]}`, `{"a":[1.50,1E2,"\u0041\""]}`},
		"an escaped name is known":       {`{"properties":{"a":{}}}`, `{"\u0061":1,"b":2}`, `{"\u0061":1}`},
		"other case is unknown":          {`{"properties":{"age":{}}}`, `{"age":20,"AGE":5}`, `{"age":20}`},
		"nested":                         {`{"properties":{"o":{"properties":{"a":{}}}}}`, `{"o":{"b":{"c":[1,2]},"a":1}}`, `{"o":{"a":1}}`},
		"items":                          {`{"properties":{"l":{"items":{"properties":{"a":{}}}}}}`, `{"l":[{"a":1,"b":2},{"b":3},{}]}`, `{"l":[{"a":1},{},{}]}`},
		"prefix items":                   {`{"prefixItems":[{"properties":{"a":{}}}],"items":{"properties":{"b":{}}}}`, `[{"a":1,"b":1},{"a":1,"b":1}]`, `[{"a":1},{"b":1}]`},
		"draft 7 tuples":                 {`{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"properties":{"a":{}}}],"additionalItems":{"properties":{"b":{}}}}`, `[{"a":1,"b":1},{"a":1,"b":1}]`, `[{"a":1},{"b":1}]`},
		"all of":                         {`{"allOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]}`, `{"a":1,"b":2,"c":3}`, `{"a":1,"b":2}`},
		"reference":                      {`{"$ref":"#/$defs/x","properties":{"b":{}},"$defs":{"x":{"properties":{"a":{}}}}}`, `{"a":1,"b":2,"c":3}`, `{"a":1,"b":2}`},
		"recursive":                      {`{"properties":{"v":{},"next":{"$ref":"#"}}}`, `{"v":1,"next":{"v":2,"x":1,"next":{"y":1}}}`, `{"v":1,"next":{"v":2,"next":{}}}`},
		"conditions":                     {`{"properties":{"k":{}},"if":{"properties":{"k":{"const":1}}},"then":{"properties":{"a":{}}},"else":{"properties":{"b":{}}}}`, `{"k":1,"a":1,"b":1,"c":1}`, `{"k":1,"a":1,"b":1}`},
		"pattern properties":             {`{"patternProperties":{"^x-":{"properties":{"a":{}}}}}`, `{"x-1":{"a":1,"b":1},"y":1}`, `{"x-1":{"a":1}}`},
		"required without properties":    {`{"properties":{"a":{}},"required":["b"]}`, `{"a":1,"b":2,"c":3}`, `{"a":1,"b":2}`},
		"never under oneOf":              {`{"properties":{"o":{"oneOf":[{"properties":{"a":{}}},{"required":["zz"]}],"properties":{"b":{}}}}}`, `{"o":{"q":1},"x":1}`, `{"o":{"q":1}}`},
		"never under anyOf at the root":  {`{"anyOf":[{"properties":{"a":{}}}]}`, `{"q":1}`, `{"q":1}`},
		"open on purpose":                {`{"properties":{"a":{}},"additionalProperties":true}`, `{"a":1,"b":2}`, `{"a":1,"b":2}`},
		"a map of objects":               {`{"additionalProperties":{"properties":{"a":{}}}}`, `{"k":{"a":1,"b":1}}`, `{"k":{"a":1}}`},
		"an object of any kind":          {`{"properties":{"o":{"type":"object"}}}`, `{"o":{"q":1},"x":1}`, `{"o":{"q":1}}`},
		"enumerated objects":             {`{"properties":{"o":{"enum":[{"q":1}],"properties":{"a":{}}}}}`, `{"o":{"q":1}}`, `{"o":{"q":1}}`},
		"braces in strings":              {`{"properties":{"a":{}}}`, `{"b":"}],{\"","a":"\\"}`, `{"a":"\\"}`},
		"everything is unknown":          {`{"properties":{"a":{}}}`, `{"b":1 , "c":null}`, `{}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := mustSchema(t, c.schema)
			v := newBodyValidator(s, newRuleBuilder(), Limits{}.withDefaults(), newRewriter(true, false))
			got, changed, issues, _ := v.validate([]byte(c.doc))
			if string(got) != c.want || issues != nil {
				t.Errorf("validate(%s) = %s, issues %v\nwant %s", c.doc, got, issues, c.want)
			}
			if changed != (c.want != c.doc) {
				t.Errorf("changed = %v", changed)
			}
		})
	}
}

func TestRewrite_FillsDefaults(t *testing.T) {
	cases := map[string]struct{ schema, doc, want string }{
		"missing":               {`{"properties":{"a":{},"plan":{"default":"free"},"n":{"default":[1,{"x":null}]}}}`, `{"a":1}`, `{"a":1,"n":[1,{"x":null}],"plan":"free"}`},
		"present stays":         {`{"properties":{"plan":{"default":"free"}}}`, `{"plan":null}`, `{"plan":null}`},
		"empty object":          {`{"properties":{"plan":{"default":"free"}}}`, `{}`, `{"plan":"free"}`},
		"nested where present":  {`{"properties":{"o":{"properties":{"x":{"default":1}}},"p":{"properties":{"x":{"default":1}}}}}`, `{"o":{}}`, `{"o":{"x":1}}`},
		"through all of":        {`{"allOf":[{"properties":{"x":{"default":1}}},{"properties":{"x":{"minimum":0}}}]}`, `{}`, `{"x":1}`},
		"not under alternative": {`{"anyOf":[{"properties":{"x":{"default":1}}}]}`, `{}`, `{}`},
		"unknown stays":         {`{"properties":{"x":{"default":1}}}`, `{"y":2}`, `{"y":2,"x":1}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := mustSchema(t, c.schema)
			v := newBodyValidator(s, newRuleBuilder(), Limits{}.withDefaults(), newRewriter(false, true))
			if got, _, issues, _ := v.validate([]byte(c.doc)); string(got) != c.want || issues != nil {
				t.Errorf("validate(%s) = %s, issues %v\nwant %s", c.doc, got, issues, c.want)
			}
		})
	}
}

// What a rewrite leaves must satisfy the schema like what came in.
func TestRewrite_ResultIsValidatedItself(t *testing.T) {
	cases := map[string]struct{ schema, doc string }{
		"too few members are left":  {`{"properties":{"a":{}},"minProperties":1}`, `{"b":1}`},
		"items become equal":        {`{"uniqueItems":true,"items":{"properties":{"a":{}}}}`, `[{"a":1,"b":1},{"a":1,"b":2}]`},
		"a default that is invalid": {`{"properties":{"a":{"type":"string","default":5}}}`, `{}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := mustSchema(t, c.schema)
			v := newBodyValidator(s, newRuleBuilder(), Limits{}.withDefaults(), newRewriter(true, true))
			if got, _, issues, _ := v.validate([]byte(c.doc)); issues == nil {
				t.Errorf("validate(%s) let %s through", c.doc, got)
			}
		})
	}
}

// A rewritten document is a document, and a second rewrite finds nothing to do.
func FuzzRewrite(f *testing.F) {
	const schema = `{"properties":{"a":{"items":{"properties":{"b":{"default":1}}}},"o":{"$ref":"#"},"m":{"additionalProperties":{"properties":{"c":{}}}}},"patternProperties":{"^p":{}}}`
	s := mustSchema(f, schema)
	v := newBodyValidator(s, newRuleBuilder(), Limits{}.withDefaults(), newRewriter(true, true))
	f.Add([]byte(`{"a":[{"x":1},2,"}"],"o":{"o":{"z":{}}},"m":{"k":{"c":1,"d":2}},"px":[],"\u0061b":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		once, _, issues, _ := v.validate(data)
		if issues != nil {
			return
		}
		twice, changed, issues, _ := v.validate(once)
		if issues != nil || changed {
			t.Fatalf("%q became %q, then %q (%v)", data, once, twice, issues)
		}
	})
}

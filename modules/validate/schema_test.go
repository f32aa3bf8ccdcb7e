package validate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func writeBeside(t testing.TB, file, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustSchema(t testing.TB, text string) *jsonschema.Schema {
	t.Helper()
	file := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadSchema(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoadSchema_NamesFileAndPointer(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"not JSON":             {`{"type":`, "ends too early"},
		"duplicate keyword":    {`{"type":"object","type":"array"}`, "type appears more than once"},
		"unknown type":         {`{"properties":{"age":{"type":"int"}}}`, "at /properties/age/type"},
		"wrong keyword value":  {`{"properties":{"age":{"minimum":"13"}}}`, "at /properties/age/minimum: must be a number"},
		"bad regular exp":      {`{"properties":{"a":{"pattern":"("}}}`, "/properties/a/pattern"},
		"lookahead is not RE2": {`{"properties":{"a":{"pattern":"(?=x)"}}}`, "/properties/a/pattern"},
		"dangling reference":   {`{"$ref":"#/$defs/gone"}`, "/$defs/gone"},
		"reference to the net": {`{"$ref":"https://example.com/s.json"}`, "https://example.com/s.json"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, "s.json", c.text)
			_, err := loadSchema(file)
			if err == nil {
				t.Fatalf("loadSchema accepted %s", c.text)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("error %q\nwant it to name %q and %q", err, file, c.want)
			}
		})
	}
	if _, err := loadSchema("/does/not/exist.json"); err == nil || !strings.Contains(err.Error(), "/does/not/exist.json") {
		t.Errorf("missing file: %v", err)
	}
}

func TestCheck_NamesEveryFieldAtOnce(t *testing.T) {
	address := `"address":{"type":"object","required":["zip"],"properties":{"zip":{"type":"string","minLength":3},"street":{"type":"string"}}}`
	cases := map[string]struct {
		schema, doc string
		want        []string
	}{
		"several fields": {
			`{"required":["email","name"],"properties":{"email":{"format":"email"},"age":{"type":"integer","minimum":13},"name":{"minLength":2}}}`,
			`{"email":"x","age":7}`,
			[]string{"age: must be at least 13", "email: must be an email address", "name: is required"},
		},
		"nested": {
			`{"properties":{` + address + `}}`, `{"address":{"zip":"1","street":5}}`,
			[]string{"address.street: must be a string", "address.zip: must be at least 3 characters long"},
		},
		"missing inside": {`{"properties":{` + address + `}}`, `{"address":{}}`, []string{"address.zip: is required"}},
		"items": {
			`{"properties":{"items":{"items":{"properties":{"price":{"type":"number","exclusiveMinimum":0}}}}}}`,
			`{"items":[{"price":1},{"price":2},{"price":0},{"price":"a"}]}`,
			[]string{"items[2].price: must be greater than 0", "items[3].price: must be a number"},
		},
		"a member called 0":    {`{"properties":{"0":{"type":"string"}}}`, `{"0":1}`, []string{"0: must be a string"}},
		"additional":           {`{"properties":{"a":{}},"additionalProperties":false}`, `{"b":1,"a":1,"c d":1}`, []string{`["c d"]: is not allowed`, "b: is not allowed"}},
		"root of wrong type":   {`{"type":"object"}`, `[]`, []string{": must be an object"}},
		"nullable by type":     {`{"properties":{"a":{"type":["integer","null"]}}}`, `{"a":"x"}`, []string{"a: must be null or a whole number"}},
		"nullable by anyOf":    {`{"properties":{"a":{"anyOf":[{"type":"null"},{"type":"string","minLength":3}]}}}`, `{"a":"x"}`, []string{"a: must be at least 3 characters long"}},
		"no type of anyOf":     {`{"properties":{"a":{"anyOf":[{"type":"null"},{"type":"string"}]}}}`, `{"a":1}`, []string{"a: must be null or a string"}},
		"oneOf by constant":    {`{"oneOf":[{"properties":{"k":{"const":"a"},"n":{"minimum":5}}},{"properties":{"k":{"const":"b"},"n":{"maximum":2}}}]}`, `{"k":"a","n":3}`, []string{"n: must be at least 5"}},
		"oneOf in the dark":    {`{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{}`, []string{": does not match any of the allowed forms"}},
		"oneOf twice":          {`{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{"a":1,"b":1}`, []string{": matches more than one of the forms of which only one is allowed"}},
		"through references":   {`{"$ref":"#/$defs/u","$defs":{"u":{"allOf":[{"required":["a"]},{"properties":{"b":{"type":"boolean"}}}]}}}`, `{"b":1}`, []string{"a: is required", "b: must be true or false"}},
		"enum":                 {`{"properties":{"c":{"enum":["red","green",3]}}}`, `{"c":"blue"}`, []string{"c: must be one of red, green, 3"}},
		"const":                {`{"properties":{"c":{"const":1}}}`, `{"c":2}`, []string{"c: must be 1"}},
		"dependent":            {`{"dependentRequired":{"card":["cvc"]}}`, `{"card":1}`, []string{"cvc: is required together with card"}},
		"array rules":          {`{"properties":{"a":{"minItems":3,"uniqueItems":true,"contains":{"type":"string"}}}}`, `{"a":[1,1]}`, []string{"a: lacks an item of the required kind", "a: must have at least 3 items", "a: must not repeat items: [0] and [1] are equal"}},
		"names":                {`{"propertyNames":{"maxLength":3}}`, `{"abcd":1}`, []string{"abcd: is not an allowed name"}},
		"no member at all":     {`{"minProperties":1}`, `{}`, []string{": must have at least 1 member"}},
		"false schema":         {`{"properties":{"gone":false}}`, `{"gone":1}`, []string{"gone: is not allowed"}},
		"multiple of":          {`{"properties":{"p":{"multipleOf":0.01}}}`, `{"p":1.005}`, []string{"p: must be a multiple of 0.01"}},
		"blank":                {`{"properties":{"p":{"pattern":"\\S"}}}`, `{"p":"  "}`, []string{"p: must not be blank"}},
		"valid":                {`{"properties":{"p":{"type":"integer"}}}`, `{"p":1.0}`, nil},
		"huge integer compare": {`{"properties":{"p":{"maximum":10}}}`, `{"p":1e308}`, []string{"p: must be at most 10"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			doc, err := parse([]byte(c.doc), Limits{}.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, issue := range newRuleBuilder().rule(mustSchema(t, c.schema)).check(doc) {
				got = append(got, issue.Field+": "+issue.Message)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("check(%s)\n got %q\nwant %q", c.doc, got, c.want)
			}
		})
	}
}

func TestCheck_AssertsFormats(t *testing.T) {
	cases := []struct{ format, good, bad string }{
		{"email", "ada@example.com", "ada@"},
		{"uuid", "0199f3c2-0000-7000-8000-000000000000", "0199f3c2"},
		{"date-time", "2026-11-22T21:00:00Z", "2026-11-22 21:00"},
		{"date", "2024-02-29", "2023-02-29"},
		{"uri", "https://example.com/a", "example.com"},
		{"ipv4", "192.0.2.1", "192.0.2.256"},
		{"ipv6", "2001:db8::1", "2001:db8::g"},
		{"hostname", "a.example", "-a.example"},
		{"duration", "P3DT4H", "3 days"},
	}
	for _, c := range cases {
		t.Run(c.format, func(t *testing.T) {
			s := mustSchema(t, `{"format":"`+c.format+`"}`)
			if issues := newRuleBuilder().rule(s).check(c.good); issues != nil {
				t.Errorf("%q: %v", c.good, issues)
			}
			if issues := newRuleBuilder().rule(s).check(c.bad); len(issues) != 1 {
				t.Errorf("%q passed as %s", c.bad, c.format)
			}
		})
	}
}

func TestCheck_NeverQuotesAValue(t *testing.T) {
	s := mustSchema(t, `{"properties":{"password":{"type":"string","minLength":50,"pattern":"^\\d+$","format":"uuid","enum":["a"]},"pin":{"maximum":3,"multipleOf":2}}}`)
	doc, err := parse([]byte(`{"password":"hunter2","pin":98765}`), Limits{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	issues := newRuleBuilder().rule(s).check(doc)
	if len(issues) == 0 {
		t.Fatal("no issues")
	}
	for _, issue := range issues {
		if strings.Contains(issue.Message, "hunter2") || strings.Contains(issue.Message, "98765") {
			t.Errorf("the message %q quotes the value", issue.Message)
		}
	}
}

func TestTidy_BoundsTheList(t *testing.T) {
	var many []Issue
	for range 3 {
		for i := range 150 {
			many = append(many, Issue{Field: strings.Repeat("a", i+1), Message: "is wrong"})
		}
	}
	got := tidy(many, 0)
	if len(got) != maxIssues+1 || got[maxIssues].Message != "has 50 more errors" {
		t.Errorf("got %d issues, the last %v", len(got), got[len(got)-1])
	}
}

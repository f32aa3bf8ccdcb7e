package validate

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A schema that leads back to itself by two ways is applied twice as often with
// each level of the body. None of these would end without a bound.
func TestCheck_WhatDoublesWithEachLevelIsBounded(t *testing.T) {
	const node = `{"type":"object","properties":{"op":{"const":"%s"},"left":{"$ref":"#/$defs/e"},"right":{"$ref":"#/$defs/e"}}}`
	for name, schema := range map[string]string{
		"oneOf":  `{"$ref":"#/$defs/e","$defs":{"e":{"oneOf":[{"type":"integer"},` + fmt.Sprintf(node, "and") + "," + fmt.Sprintf(node, "or") + `]}}}`,
		"allOf":  `{"$ref":"#/$defs/e","$defs":{"e":{"allOf":[{"properties":{"left":{"$ref":"#/$defs/e"}}},{"properties":{"left":{"$ref":"#/$defs/e"}}}]}}}`,
		"items":  `{"$ref":"#/$defs/e","$defs":{"e":{"anyOf":[{"items":{"$ref":"#/$defs/e"},"minItems":1},{"items":{"$ref":"#/$defs/e"},"maxItems":0}]}}}`,
		"if":     `{"$ref":"#/$defs/e","$defs":{"e":{"if":{"additionalProperties":{"$ref":"#/$defs/e"}},"then":{"additionalProperties":{"$ref":"#/$defs/e"}}}}}`,
		"itself": `{"$id":"http://x/","$dynamicAnchor":"n","allOf":[{"additionalProperties":{"$dynamicRef":"#n"}},{"unevaluatedProperties":{"$dynamicRef":"#n"}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			v := newBodyValidator(mustSchema(t, schema), newRuleBuilder(), Limits{}.withDefaults(), newRewriter(true, true))
			body := strings.Repeat(`{"op":"or","left":`, 60) + "1" + strings.Repeat("}", 60)
			if name == "items" {
				body = strings.Repeat("[", 60) + strings.Repeat("]", 60)
			}
			done := make(chan []Issue, 1)
			go func() {
				_, _, issues, _ := v.validate([]byte(body))
				done <- issues
			}()
			select {
			case issues := <-done:
				if len(issues) != 1 || issues[0].Message != tooCostly {
					t.Errorf("%v", issues)
				}
			case <-time.After(time.Minute):
				t.Fatal("it goes on for ever")
			}
			if _, _, issues, _ := v.validate([]byte(`{"op":"or","left":{"op":"and","left":1,"right":2}}`)); name == "oneOf" && issues != nil {
				t.Errorf("a plain expression: %v", issues)
			}
		})
	}
}

// Counting takes no more memory than what it counts would be allowed to take.
func TestCheck_CountingIsBounded(t *testing.T) {
	alternative := `{"type":"array","items":{"$ref":"#"},"maxItems":%d}`
	s := mustSchema(t, numbered(`{"anyOf":[{"type":"integer"},`, alternative, `]}`, 200))
	doc, err := parse([]byte(repeated("[", "[1]", "]", 1000)), Limits{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	count := visits{known: map[visit]int{}, most: 10_000} // of some 200000
	if n := count.of(s, doc); n != count.most || len(count.known) > count.most {
		t.Errorf("%d visits, %d of them known; want %d", n, len(count.known), count.most)
	}
}

// Recursion by one way costs what the body is long: trees and lists pass.
func TestCheck_DeepTreesPass(t *testing.T) {
	v := newBodyValidator(mustSchema(t, `{"$ref":"#/$defs/t","$defs":{"t":{"type":"object","properties":{"next":{"$ref":"#/$defs/t"},"all":{"type":"array","items":{"$ref":"#/$defs/t"}}}}}}`),
		newRuleBuilder(), Limits{}.withDefaults(), newRewriter(true, false))
	row := `{"all":[` + strings.TrimSuffix(strings.Repeat(`{"x":1},`, 900), ",") + `]}`
	body := strings.Repeat(`{"next":`, 50) + `{"all":[` + strings.TrimSuffix(strings.Repeat(row+",", 50), ",") + `]}` + strings.Repeat("}", 50)
	out, changed, issues, _ := v.validate([]byte(body))
	if issues != nil || !changed || strings.Contains(string(out), `"x"`) {
		t.Errorf("%v, changed %v", issues, changed)
	}
}

package validate

import (
	"strings"
	"testing"
)

const petsDocument = `
openapi: VERSION
info: {title: Pets, version: "1"}
paths:
  /pets:
    post:
      requestBody: {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/Any"}}}}
      responses: {201: {description: made}}
  /pairs:
    post:
      requestBody: {required: true, content: {application/json: {schema: {type: object, properties: {first: {$ref: "#/components/schemas/Vehicle"}, second: {$ref: "#/components/schemas/Vehicle"}}}}}}
      responses: {201: {description: made}}
components:
  schemas:
    Any:
      oneOf: [{$ref: "#/components/schemas/Cat"}, {$ref: "#/components/schemas/Dog"}]
      discriminator: {propertyName: kind, mapping: {cat: "#/components/schemas/Cat", dog: Dog, hound: Dog, fish: "#/components/schemas/Vehicle"}}
    Cat: {type: object, required: [kind], properties: {kind: {type: string}, lives: {type: integer, maximum: 9}}}
    Dog: {type: object, required: [kind, name], properties: {kind: {type: string}, name: {type: string}, friend: {$ref: "#/components/schemas/Any"}}}
    Vehicle:
      type: object
      required: [type]
      properties: {type: {type: string}, wheels: {type: integer}}
      discriminator: {propertyName: type}
    Car: {allOf: [{$ref: "#/components/schemas/Vehicle"}, {type: object, required: [doors], properties: {doors: {type: integer}}}]}
    Taxi: {allOf: [{$ref: "#/components/schemas/Car"}, {type: object, required: [licence], properties: {licence: {type: string}}}]}
`

func TestDiscriminator_ChoosesTheSchema(t *testing.T) {
	for _, version := range []string{"3.0.3", "3.1.0"} {
		file := writeFile(t, "pets.yaml", strings.Replace(petsDocument, "VERSION", version, 1))
		h := provision(t, &Handler{OpenAPI: &OpenAPI{Document: file}, StripUnknown: true})
		u := &upstream{}
		for name, c := range map[string]struct{ path, body, want string }{
			// Both schemas would accept it: by oneOf alone it would be refused.
			"one of two that fit":        {"/pets", `{"kind":"cat","name":"x","lives":3}`, ""},
			"by the schema's own name":   {"/pets", `{"kind":"Cat","lives":3}`, ""},
			"errors of the chosen only":  {"/pets", `{"kind":"cat","lives":10}`, "lives: must be at most 9"},
			"of another mapping":         {"/pets", `{"kind":"hound"}`, "name: is required"},
			"below":                      {"/pets", `{"kind":"dog","name":"a","friend":{"kind":"dog"}}`, "friend.name: is required"},
			"an unknown name":            {"/pets", `{"kind":"cow"}`, "kind: must be one of Cat, Dog, cat, dog, hound"},
			"a name of no alternative":   {"/pets", `{"kind":"fish"}`, "kind: must be one of Cat, Dog, cat, dog, hound"},
			"no name":                    {"/pets", `{"lives":1}`, "kind: is required"},
			"a name that is no text":     {"/pets", `{"kind":1}`, "kind: must be one of Cat, Dog, cat, dog, hound"},
			"no object":                  {"/pets", `[]`, ": the body must be an object"},
			"an heir":                    {"/pairs", `{"first":{"type":"Car","doors":3},"second":{"type":"Taxi","doors":5,"licence":"x"}}`, ""},
			"the ancestor itself":        {"/pairs", `{"first":{"type":"Vehicle","wheels":2}}`, ""},
			"an heir without its member": {"/pairs", `{"first":{"type":"Car"},"second":{"type":"Taxi"}}`, "first.doors: is required; second.doors: is required; second.licence: is required"},
			"an ancestor's member":       {"/pairs", `{"first":{"type":"Car","doors":1,"wheels":"four"}}`, "first.wheels: must be a whole number"},
			"an unknown heir":            {"/pairs", `{"first":{"type":"Boat"}}`, "first.type: must be one of Car, Taxi, Vehicle"},
		} {
			t.Run(version+" "+name, func(t *testing.T) {
				*u = upstream{}
				status, got := call(h, u, "POST", c.path, "application/json", c.body)
				if got != c.want || (status == 200) != (c.want == "") {
					t.Errorf("%d %s\nwant %s", status, got, c.want)
				}
				if status == 200 && u.body != c.body {
					t.Errorf("%s went on", u.body)
				}
			})
		}
	}
}

func TestDiscriminator_BesideNull(t *testing.T) {
	doc := `
openapi: 3.1.0
paths:
  /p:
    post:
      requestBody: {content: {application/json: {schema: {oneOf: [{$ref: "#/components/schemas/A"}, {type: "null"}], discriminator: {propertyName: k}}}}}
components: {schemas: {A: {type: object, required: [n], properties: {n: {type: integer}}}}}
`
	h, u := provision(t, &Handler{OpenAPI: &OpenAPI{Document: writeFile(t, "p.yaml", doc)}}), &upstream{}
	for body, want := range map[string]string{
		`null`: "", `{"k":"A","n":1}`: "", `{"k":"A"}`: "n: is required", `{"k":"B","n":1}`: "k: must be A",
		`7`: ": the body must be null or an object",
	} {
		if status, got := call(h, u, "POST", "/p", "application/json", body); got != want || (status == 200) != (want == "") {
			t.Errorf("%s: %d %s, want %q", body, status, got, want)
		}
	}
}

func TestDiscriminator_FaultsNameThePointer(t *testing.T) {
	for discriminator, want := range map[string]string{
		`{}`: "/components/schemas/A/discriminator/propertyName",
		`{propertyName: k, mapping: {x: "#/components/schemas/No"}}`: "/components/schemas/A/discriminator/mapping/x",
		`{propertyName: k, mapping: [x]}`:                            "/components/schemas/A/discriminator/mapping",
	} {
		doc := `
openapi: 3.1.0
paths: {/p: {post: {requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/A"}}}}}}}
components: {schemas: {A: {oneOf: [{$ref: "#/components/schemas/B"}], discriminator: ` + discriminator + `}, B: {type: object}}}
`
		err := tryProvision(t, &Handler{OpenAPI: &OpenAPI{Document: writeFile(t, "p.yaml", doc)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", discriminator, err, want)
		}
	}
}

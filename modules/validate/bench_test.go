package validate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fairway-gateway/fairway/test/process"
)

// cpu reports the processor time of the process per operation, garbage
// collection included: what a busy machine does to the clock it does not do to
// that.
func cpu(b *testing.B) (report func()) {
	before := process.SelfCPU()
	return func() {
		b.ReportMetric(float64(process.SelfCPU()-before)/1000/float64(b.N), "cpu-µs/op")
	}
}

// thirtyFields is a schema of 30 fields as services have them, and a body of
// about 1 KB for it.
func thirtyFields() (schema, valid, invalid string) {
	props, good, bad := map[string]any{}, map[string]any{}, map[string]any{}
	var required []string
	for i := range 30 {
		name := fmt.Sprintf("field_%02d", i)
		required = append(required, name)
		switch i % 6 {
		case 0:
			props[name] = map[string]any{"type": "string", "minLength": 2, "maxLength": 50}
			good[name], bad[name] = "some words of text", "x"
		case 1:
			props[name] = map[string]any{"type": "integer", "minimum": 13, "maximum": 120}
			good[name], bad[name] = 36, 7
		case 2:
			props[name] = map[string]any{"type": "string", "format": "email"}
			good[name], bad[name] = "ada.lovelace@example.com", "nobody"
		case 3:
			props[name] = map[string]any{"type": "string", "enum": []string{"free", "pro", "team"}}
			good[name], bad[name] = "pro", "none"
		case 4:
			props[name] = map[string]any{"type": "string", "format": "uuid"}
			good[name], bad[name] = "0199f3c2-0000-7000-8000-000000000000", "0199"
		case 5:
			props[name] = map[string]any{"type": "string", "format": "date-time"}
			good[name], bad[name] = "2026-11-22T21:00:00Z", "today"
		}
	}
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	s := text(map[string]any{"type": "object", "required": required, "properties": props})
	return s, text(good), text(bad)
}

func BenchmarkValidator(b *testing.B) {
	schema, valid, invalid := thirtyFields()
	s := mustSchema(b, schema)
	plain := newBodyValidator(s, newRuleBuilder(), Limits{}.withDefaults(), nil)
	strip := newBodyValidator(s, newRuleBuilder(), Limits{}.withDefaults(), newRewriter(true, false))
	unknown := `{"unknown":{"a":[1,2,3]},` + valid[1:]
	for _, c := range []struct {
		name string
		v    *bodyValidator
		body string
		want int
	}{
		{"valid", plain, valid, 0},
		{"invalid", plain, invalid, 30},
		{"valid/strip", strip, valid, 0},
		{"stripped", strip, unknown, 0},
	} {
		b.Run(fmt.Sprintf("%s/bytes=%d", c.name, len(c.body)), func(b *testing.B) {
			body := []byte(c.body)
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				if _, _, issues, _ := c.v.validate(body); len(issues) != c.want {
					b.Fatal(issues)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	_, valid, _ := thirtyFields()
	body := []byte(valid)
	lim := Limits{}.withDefaults()
	b.Run("strict", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			if _, err := parse(body, lim); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for b.Loop() {
			var v any
			if err := json.Unmarshal(body, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What a hostile body costs: as many errors as the limits allow.
func BenchmarkValidator_Hostile(b *testing.B) {
	s := mustSchema(b, `{"items":{"items":{"type":"string"}}}`)
	v := newBodyValidator(s, newRuleBuilder(), Limits{}.withDefaults(), nil)
	row := "[" + strings.TrimSuffix(strings.Repeat("1,", 9990), ",") + "]"
	body := []byte("[" + strings.TrimSuffix(strings.Repeat(row+",", 10), ",") + "]")
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		if _, _, issues, _ := v.validate(body); len(issues) == 0 {
			b.Fatal("no issues")
		}
	}
}

// bigDocument has n operations, each with a body of its own 20-field schema
// that refers to the next.
func bigDocument(n int) []byte {
	paths, schemas := map[string]any{}, map[string]any{}
	for i := range n {
		props := map[string]any{"next": map[string]any{"$ref": fmt.Sprintf("#/components/schemas/S%d", (i+1)%n)}}
		for j := range 20 {
			props[fmt.Sprint("f", j)] = map[string]any{"type": "string", "maxLength": 50}
		}
		schemas[fmt.Sprint("S", i)] = map[string]any{"type": "object", "properties": props, "required": []string{"f1"}}
		paths[fmt.Sprintf("/group%d/resource%d/{id}/part", i%10, i)] = map[string]any{"post": map[string]any{
			"operationId": fmt.Sprint("op", i),
			"parameters":  []any{map[string]any{"name": "id", "in": "path", "required": true, "schema": map[string]any{"type": "integer"}}},
			"requestBody": map[string]any{"content": map[string]any{"application/json": map[string]any{"schema": map[string]any{"$ref": fmt.Sprint("#/components/schemas/S", i)}}}},
			"responses":   map[string]any{"200": map[string]any{"description": "ok"}},
		}}
	}
	data, err := json.Marshal(map[string]any{
		"openapi": "3.1.0", "info": map[string]any{"title": "big", "version": "1"},
		"paths": paths, "components": map[string]any{"schemas": schemas},
	})
	if err != nil {
		panic(err)
	}
	return data
}

func loadBig(tb testing.TB, n int) *document {
	tb.Helper()
	doc, err := readDocument(bigDocument(n))
	if err != nil {
		tb.Fatal(err)
	}
	d, err := compileDocument(doc, documentOptions{limits: Limits{}.withDefaults(), strip: true})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func BenchmarkOpenAPI_Load(b *testing.B) {
	for _, n := range []int{50, 500} {
		b.Run(fmt.Sprintf("operations=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				loadBig(b, n)
			}
		})
	}
}

func BenchmarkOpenAPI_Find(b *testing.B) {
	for _, n := range []int{5, 50, 500, 5000} {
		d := loadBig(b, n)
		target := fmt.Sprintf("/group%d/resource%d/77/part", (n-1)%10, n-1)
		b.Run(fmt.Sprintf("operations=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				if item, _ := d.router.find(target); item == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}

// BenchmarkHandler is the whole handler with a parameter and a body.
func BenchmarkHandler(b *testing.B) {
	h, u := shop(b, nil), &upstream{}
	handler := serve(h, u)
	body := `{"items":[{"price":1.5},{"price":2.5,"note":"x"}]}`
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/v1/orders", strings.NewReader(body))
		r.Header = http.Header{"Content-Type": {"application/json"}, "X-Tenant": {"0199f3c2-0000-7000-8000-000000000000"}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

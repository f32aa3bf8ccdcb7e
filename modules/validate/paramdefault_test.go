package validate

import (
	"net/http/httptest"
	"strings"
	"testing"
)

const defaultsDocument = `
openapi: 3.0.3
paths:
  /list:
    get:
      parameters:
        - {name: limit, in: query, schema: {$ref: "#/components/schemas/Limit"}}
        - {name: sort by, in: query, schema: {type: string, default: "name & age"}}
        - {name: tag, in: query, schema: {type: array, items: {type: string}, default: [a, b]}}
        - {name: ids, in: query, style: spaceDelimited, explode: false, schema: {type: array, items: {type: integer}, default: [1, 2]}}
        - {name: filter, in: query, style: deepObject, schema: {type: object, properties: {min: {type: integer}, on: {type: boolean}}, default: {min: 1, on: true}}}
        - {name: q, in: query, content: {application/json: {schema: {type: object, default: {a: [1]}}}}}
        - {name: flag, in: query, allowEmptyValue: true, schema: {type: integer}}
        - {name: X-Page, in: header, schema: {type: integer, default: 1}}
        - {name: X-Sort, in: header, schema: {type: array, items: {type: string}, default: [a, b]}}
        - {name: theme, in: cookie, schema: {type: string, default: dark}}
        - {name: none, in: query, schema: {type: string}}
      responses: {200: {description: ok}}
components: {schemas: {Limit: {type: integer, default: 20, maximum: 100}}}
`

func TestDefaults_OfParametersGoUpstream(t *testing.T) {
	h := provision(t, &Handler{OpenAPI: &OpenAPI{Document: writeFile(t, "d.yaml", defaultsDocument)}, FillDefaults: true})
	u := &upstream{}
	const rest = "tag=a&tag=b&ids=1%202&filter%5Bmin%5D=1&filter%5Bon%5D=true&q=%7B%22a%22%3A%5B1%5D%7D"
	for query, want := range map[string]string{
		"":                                    "limit=20&sort+by=name+%26+age&" + rest,
		"x=1":                                 "x=1&limit=20&sort+by=name+%26+age&" + rest,
		"limit=7&sort%20by=x":                 "limit=7&sort%20by=x&" + rest,
		"flag=&limit=1&sort+by=":              "flag=&limit=1&sort+by=&" + rest,
		"limit=1&sort+by=x&" + rest:           "limit=1&sort+by=x&" + rest,
		"limit=1&sort+by=x&tag=&" + rest[12:]: "limit=1&sort+by=x&tag=&" + rest[12:],
	} {
		r := httptest.NewRequest("GET", "/list?"+query, nil)
		r.Header.Set("Cookie", "session=x")
		w := httptest.NewRecorder()
		serve(h, u).ServeHTTP(w, r)
		if w.Code != 200 || u.url != "/list?"+want {
			t.Errorf("%s: %d %s\nwent on as   %s\nwant /list?%s", query, w.Code, w.Body, u.url, want)
		}
		if got := [3]string{u.header.Get("X-Page"), u.header.Get("X-Sort"), u.header.Get("Cookie")}; got != [3]string{"1", "a,b", "session=x; theme=dark"} {
			t.Errorf("%s: headers %q", query, got)
		}
	}
	r := httptest.NewRequest("GET", "/list", nil)
	r.Header.Set("X-Page", "3")
	r.Header.Set("X-Sort", "z")
	r.Header.Set("Cookie", "theme=light")
	serve(h, u).ServeHTTP(httptest.NewRecorder(), r)
	if got := [3]string{u.header.Get("X-Page"), u.header.Get("X-Sort"), u.header.Get("Cookie")}; got != [3]string{"3", "z", "theme=light"} {
		t.Errorf("what was given went on as %q", got)
	}
	if status, got := call(h, u, "GET", "/list?limit=1000", "", ""); status != 400 || got != "query.limit: must be at most 100" {
		t.Errorf("%d %s", status, got)
	}
}

func TestDefaults_AreLeftAloneUnlessAskedFor(t *testing.T) {
	h, u := provision(t, &Handler{OpenAPI: &OpenAPI{Document: writeFile(t, "d.yaml", defaultsDocument)}}), &upstream{}
	if status, got := call(h, u, "GET", "/list?a=b", "", ""); status != 200 || u.url != "/list?a=b" || u.header.Get("X-Page") != "" {
		t.Errorf("%d %s: %s %v went on", status, got, u.url, u.header)
	}
}

func TestDefaults_FaultsFailTheLoad(t *testing.T) {
	for change, want := range map[[2]string]string{
		{"default: 20", "default: 200"}:       "/paths/~1list/get/parameters/0/schema: the default must be at most 100",
		{"default: dark", `default: "a;b"`}:   "/paths/~1list/get/parameters/9/schema: the default has characters that cannot be in a header",
		{"default: [1, 2]", "default: [[1]]"}: "/paths/~1list/get/parameters/3/schema: the default must be a whole number",
	} {
		file := writeFile(t, "d.yaml", strings.Replace(defaultsDocument, change[0], change[1], 1))
		err := tryProvision(t, &Handler{OpenAPI: &OpenAPI{Document: file}, FillDefaults: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", change[1], err, want)
		}
	}
}

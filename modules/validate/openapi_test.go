package validate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

const shopDocument = `
openapi: 3.1.0
info: {title: Shop, version: "1.2"}
servers: [{url: "https://api.example.com/v1"}, {url: "/{stage}", variables: {stage: {default: beta}}}]
paths:
  /orders:
    parameters:
      - {name: X-Tenant, in: header, required: true, schema: {type: string, format: uuid}}
    get:
      operationId: listOrders
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100, format: int32}}
        - {name: open, in: query, schema: {type: boolean}}
        - {name: tag, in: query, schema: {type: array, items: {type: string, minLength: 2}, maxItems: 3}}
        - {name: ids, in: query, explode: false, schema: {type: array, items: {type: integer}}}
        - {name: pipes, in: query, style: pipeDelimited, explode: false, schema: {type: array, items: {type: integer}}}
        - {name: filter, in: query, style: deepObject, schema: {type: object, properties: {min: {type: integer}, state: {enum: [open, done]}}, additionalProperties: false}}
        - {name: session, in: cookie, schema: {type: string, minLength: 4}}
        - {name: q, in: query, content: {application/json: {schema: {type: object, required: [a]}}}}
      responses: {200: {description: ok}}
    post:
      operationId: createOrder
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: "#/components/schemas/Order"}
          application/x-www-form-urlencoded:
            schema: {type: object, required: [sku], properties: {sku: {type: string}, count: {type: integer, minimum: 1}, gift: {type: boolean}, note: {type: array, items: {type: string, maxLength: 3}}}}
          multipart/form-data:
            schema: {type: object, required: [file], properties: {file: {type: string, format: binary, maxLength: 10}, meta: {type: object, required: [a], properties: {a: {type: integer}}}, count: {type: integer}}}
          text/csv: {}
      responses: {201: {description: made}}
  /orders/{id}:
    parameters: [{$ref: "#/components/parameters/id"}]
    get: {operationId: getOrder, responses: {200: {description: ok}}}
    delete: {operationId: dropOrder, x-fairway-validate: false, responses: {204: {description: gone}}}
  /orders/latest:
    get: {operationId: latest, responses: {200: {description: ok}}}
  /files/{name}.{ext}:
    get:
      operationId: file
      parameters: [{name: name, in: path, required: true, schema: {type: string, maxLength: 5}}, {name: ext, in: path, required: true, schema: {enum: [png, txt]}}]
      responses: {200: {description: ok}}
  /points/{p}/{m}/{l}:
    get:
      operationId: styles
      parameters:
        - {name: p, in: path, required: true, schema: {type: array, items: {type: integer}}}
        - {name: m, in: path, required: true, style: matrix, schema: {type: integer}}
        - {name: l, in: path, required: true, style: label, explode: true, schema: {type: array, items: {type: integer}}}
      responses: {200: {description: ok}}
components:
  parameters:
    id: {name: id, in: path, required: true, schema: {type: integer, minimum: 1}}
  schemas:
    Order:
      type: object
      required: [id, items]
      properties:
        id: {type: integer, readOnly: true}
        items: {type: array, minItems: 1, items: {$ref: "#/components/schemas/Item"}}
        parent: {$ref: "#/components/schemas/Order"}
    Item:
      type: object
      required: [price]
      properties: {price: {type: number, exclusiveMinimum: 0}, note: {type: [string, "null"]}}
`

func shop(t testing.TB, change func(*Handler)) *Handler {
	t.Helper()
	h := &Handler{OpenAPI: &OpenAPI{Document: writeFile(t, "shop.yaml", shopDocument), OnUnknown: "refuse"}}
	if change != nil {
		change(h)
	}
	return provision(t, h)
}

func call(h *Handler, u *upstream, method, target, contentType, body string, header ...string) (int, string) {
	r := httptest.NewRequest(method, target, nil)
	if body != "" {
		r = httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
	}
	r.Header.Set("X-Tenant", "0199f3c2-0000-7000-8000-000000000000")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	w := httptest.NewRecorder()
	serve(h, u).ServeHTTP(w, r)
	_, details, _ := strings.Cut(w.Body.String(), "\n")
	if w.Code == 200 {
		details = ""
	}
	return w.Code, strings.ReplaceAll(strings.TrimSpace(details), "\n", "; ")
}

func TestOpenAPI_Parameters(t *testing.T) {
	h, u := shop(t, nil), &upstream{}
	cases := map[string]struct {
		target string
		status int
		want   string
		header []string
	}{
		"none":                        {"/v1/orders", 200, "", nil},
		"other server":                {"/beta/orders", 200, "", nil},
		"all good":                    {"/v1/orders?limit=10&open=true&tag=ab&tag=cd&ids=1,2&pipes=1%7C2&filter[min]=1&filter[state]=open&q=%7B%22a%22:1%7D", 200, "", []string{"Cookie", "session=abcd"}},
		"every kind at once":          {"/v1/orders?limit=0&open=yes&tag=a&filter[state]=lost&filter[x]=1", 400, "cookie.session: must be at least 4 characters long; header.X-Tenant: must be a UUID; query.filter.state: must be one of open, done; query.filter.x: is not allowed; query.limit: must be at least 1; query.open: must be true or false; query.tag[0]: must be at least 2 characters long", []string{"Cookie", "session=abc", "X-Tenant", "acme"}},
		"required header":             {"/v1/orders", 400, "header.X-Tenant: is required", []string{"X-Tenant", ""}},
		"not a number":                {"/v1/orders?limit=ten", 400, "query.limit: must be a whole number", nil},
		"beyond int32":                {"/v1/orders?ids=1&limit=99999999999", 400, "query.limit: must be a whole number of 32 bits", nil},
		"given twice":                 {"/v1/orders?limit=1&limit=2", 400, "query.limit: must be given once", nil},
		"a list given twice":          {"/v1/orders?ids=1&ids=2", 400, "query.ids: must be given once", nil},
		"item of a list":              {"/v1/orders?ids=1,x,3", 400, "query.ids[1]: must be a whole number", nil},
		"item between pipes":          {"/v1/orders?pipes=1|x", 400, "query.pipes[1]: must be a whole number", nil},
		"too many items":              {"/v1/orders?tag=aa&tag=bb&tag=cc&tag=dd", 400, "query.tag: must have at most 3 items", nil},
		"JSON in a parameter":         {"/v1/orders?q=%7B%7D", 400, "query.q.a: is required", nil},
		"broken JSON":                 {"/v1/orders?q=%7B", 400, "query.q: must be JSON", nil},
		"malformed query":             {"/v1/orders?limit=%zz", 400, "query: is malformed", nil},
		"semicolons":                  {"/v1/orders?limit=1;limit=2", 400, "query: is malformed", nil},
		"path parameter":              {"/v1/orders/7", 200, "", nil},
		"bad path parameter":          {"/v1/orders/0", 400, "path.id: must be at least 1", nil},
		"a literal before a template": {"/v1/orders/latest", 200, "", nil},
		"an escaped slash":            {"/v1/orders/1%2F2", 400, "path.id: must be a whole number", nil},
		"two in a segment":            {"/v1/files/a.png", 200, "", nil},
		"two in a segment, bad":       {"/v1/files/abcdef.exe", 400, "path.ext: must be one of png, txt; path.name: must be at most 5 characters long", nil},
		"styles of paths":             {"/v1/points/1,2/;m=3/.4.5", 200, "", nil},
		"styles of paths, bad":        {"/v1/points/1,b/m=3/.4.e", 400, "path.l[1]: must be a whole number; path.m: must begin with a semicolon; path.p[1]: must be a whole number", nil},
		"unknown path":                {"/v1/nothing", 404, "", nil},
		"no such base":                {"/orders", 404, "", nil},
		"dots":                        {"/v1/orders/../orders", 404, "", nil},
		"escaped dots":                {"/v1/orders/%2e%2e", 404, "", nil},
		"trailing slash":              {"/v1/orders/", 404, "", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			status, got := call(h, u, "GET", c.target, "", "", c.header...)
			if status != c.status || got != c.want {
				t.Errorf("%s: %d %s\nwant %d %s", c.target, status, got, c.status, c.want)
			}
		})
	}
}

func TestOpenAPI_Bodies(t *testing.T) {
	h, u := shop(t, func(h *Handler) { h.StripUnknown = true }), &upstream{}
	const form, js = "application/x-www-form-urlencoded", "application/json"
	cases := map[string]struct {
		contentType, body string
		status            int
		want, sent        string
	}{
		"JSON":                        {js, `{"items":[{"price":1.5}]}`, 200, "", `{"items":[{"price":1.5}]}`},
		"unknown members go":          {js, `{"x":1,"items":[{"price":1.5,"y":2}],"parent":{"items":[{"price":1}],"z":3}}`, 200, "", `{"items":[{"price":1.5}],"parent":{"items":[{"price":1}]}}`},
		"bad JSON values":             {js, `{"items":[{"price":1},{"price":0},{}],"parent":{}}`, 400, "items[1].price: must be greater than 0; items[2].price: is required; parent.items: is required", ""},
		"malformed JSON":              {js, `{"items":`, 400, ": the body is not valid JSON: the document ends too early (byte 9)", ""},
		"no body":                     {js, "", 400, ": the body is required", ""},
		"another type":                {"application/xml", "<a/>", 415, "", ""},
		"a type without rules":        {"text/csv", "a;b", 200, "", "a;b"},
		"form":                        {form, "sku=a&count=2&gift=true&note=a&note=b", 200, "", "sku=a&count=2&gift=true&note=a&note=b"},
		"form, unknown fields go":     {form, "sku=a&admin=1&c%6Funt=2", 200, "", "sku=a&c%6Funt=2"},
		"form, all wrong":             {form, "count=0&gift=maybe&note=long", 400, "count: must be at least 1; gift: must be true or false; note[0]: must be at most 3 characters long; sku: is required", ""},
		"form, given twice":           {form, "sku=a&sku=b", 400, "sku: must be given once", ""},
		"form, malformed":             {form, "sku=%zz", 400, ": the body is not a URL-encoded form", ""},
		"form in another charset":     {form + "; charset=latin1", "sku=a", 415, "", ""},
		"multipart without boundary":  {"multipart/form-data", "x", 400, ": the body has no boundary", ""},
		"multipart that breaks off":   {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=file\r\n\r\nabc", 400, ": the body is not a multipart form", ""},
		"multipart with a bad header": {"multipart/form-data; boundary=b", "--b\r\n\r\nabc\r\n--b--\r\n", 400, ": the body is not a multipart form", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			*u = upstream{}
			status, got := call(h, u, "POST", "/v1/orders", c.contentType, c.body)
			if status != c.status || got != c.want || u.body != c.sent {
				t.Errorf("%d %s, upstream got %s\nwant %d %s, %s", status, got, u.body, c.status, c.want, c.sent)
			}
		})
	}
	t.Run("a body where none belongs", func(t *testing.T) {
		if status, got := call(h, u, "GET", "/v1/orders", js, `{}`); status != 400 || got != ": the body is not part of this operation" {
			t.Errorf("%d %s", status, got)
		}
	})
	t.Run("parameters and body in one answer", func(t *testing.T) {
		if status, got := call(h, u, "POST", "/v1/orders", js, `{}`, "X-Tenant", "x"); status != 400 || got != "header.X-Tenant: must be a UUID; items: is required" {
			t.Errorf("%d %s", status, got)
		}
	})
}

func TestOpenAPI_MultipartFields(t *testing.T) {
	h, u := shop(t, nil), &upstream{}
	send := func(file []byte, fields ...string) (int, string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		if file != nil {
			part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"; filename="a.bin"`}})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = part.Write(file)
		}
		for i := 0; i < len(fields); i += 2 {
			if err := w.WriteField(fields[i], fields[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		status, got := call(h, u, "POST", "/v1/orders", w.FormDataContentType(), b.String())
		if status == 200 && u.body != b.String() {
			t.Error("the bytes that went on are not those that came")
		}
		return status, got
	}
	if status, got := send([]byte("\xff\x00bin"), "meta", `{"a":1}`, "count", "3"); status != 200 {
		t.Errorf("%d %s", status, got)
	}
	if status, got := send(nil, "meta", `{"a":"x"}`, "count", "many"); status != 400 ||
		got != "count: must be a whole number; file: is required; meta.a: must be a whole number" {
		t.Errorf("%d %s", status, got)
	}
	if status, got := send(bytes.Repeat([]byte{0xff}, 11), "meta", `{`); status != 400 || got != "meta: must be JSON" {
		t.Errorf("%d %s", status, got)
	}
	if status, got := send(bytes.Repeat([]byte{0xff}, 11)); status != 400 || got != "file: must be at most 10 characters long" {
		t.Errorf("%d %s", status, got)
	}
}

func TestOpenAPI_WhatTheDocumentLacks(t *testing.T) {
	u := &upstream{}
	refusing, passing := shop(t, nil), shop(t, func(h *Handler) { h.OpenAPI.OnUnknown = "" })
	for _, c := range []struct {
		method, target   string
		refused, skipped int
	}{
		{"GET", "/v1/nothing", 404, 200},
		{"PATCH", "/v1/orders", 405, 200},
		{"HEAD", "/v1/orders/0", 400, 400}, // a HEAD is a GET
		{"DELETE", "/v1/orders/0", 200, 200},
	} {
		if status, _ := call(refusing, u, c.method, c.target, "", ""); status != c.refused {
			t.Errorf("%s %s: %d, want %d", c.method, c.target, status, c.refused)
		}
		if status, _ := call(passing, u, c.method, c.target, "", ""); status != c.skipped {
			t.Errorf("%s %s with on_unknown pass: %d, want %d", c.method, c.target, status, c.skipped)
		}
	}
	w := httptest.NewRecorder()
	serve(refusing, u).ServeHTTP(w, httptest.NewRequest("PATCH", "/v1/orders", nil))
	if got := w.Header().Get("Allow"); got != "GET, POST" {
		t.Errorf("Allow %q", got)
	}
}

func TestOpenAPI_SkipsOperationsByName(t *testing.T) {
	h, u := shop(t, func(h *Handler) { h.OpenAPI.Skip = []string{"getOrder", "POST /orders"} }), &upstream{}
	if status, _ := call(h, u, "GET", "/v1/orders/0", "", ""); status != 200 {
		t.Errorf("getOrder: %d", status)
	}
	if status, _ := call(h, u, "POST", "/v1/orders", "a/b", "x"); status != 200 {
		t.Errorf("POST /orders: %d", status)
	}
	bad := &Handler{OpenAPI: &OpenAPI{Document: writeFile(t, "d.yaml", shopDocument), Skip: []string{"getOder"}}}
	if err := tryProvision(t, bad); err == nil || !strings.Contains(err.Error(), `skip "getOder"`) {
		t.Errorf("error %v", err)
	}
}

func TestOpenAPI30_NullableExclusiveAndRefSiblings(t *testing.T) {
	h := provision(t, &Handler{OpenAPI: &OpenAPI{BasePath: "/api/", Document: writeFile(t, "d.json", `{
		"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/a":{"post":{
			"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"}}}},"responses":{"200":{"description":"x"}}}}},
		"components":{"schemas":{
			"A":{"type":"object","required":["id"],"properties":{
				"id":{"type":"integer","readOnly":true},
				"n":{"type":"string","nullable":true,"minLength":2},
				"age":{"type":"integer","minimum":13,"exclusiveMinimum":true},
				"b":{"$ref":"#/components/schemas/B","nullable":true,"minLength":99},
				"nullable":{"type":"boolean"},"e":{"enum":[{"$ref":"#/not/a/reference"}]}}},
			"B":{"type":"string","maxLength":3,"example":{"$ref":"#/nowhere"}}}}}`)}})
	for body, want := range map[string]string{
		`{"n":null,"age":14,"b":"abc","nullable":true}`: "",
		`{"n":"a","age":13,"b":null}`:                   "age: must be greater than 13; b: must be a string; n: must be at least 2 characters long",
		`{"nullable":null}`:                             "nullable: must be true or false",
		`{"e":{"$ref":"#/not/a/reference"}}`:            "",
	} {
		if _, got := call(h, &upstream{}, "POST", "/api/a", "application/json", body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

func TestOpenAPI_FileErrorsNameThePointer(t *testing.T) {
	const head = `{"openapi":"3.1.0","info":{"title":"t","version":"1"},`
	cases := map[string]struct{ text, want string }{
		"not JSON":              {`{"openapi":`, "ends too early"},
		"not YAML":              {"a: [", "neither JSON nor YAML"},
		"duplicate member":      {head + `"paths":{"/a":{},"/a":{}}}`, `paths["/a"] appears more than once`},
		"version":               {`{"openapi":"2.0"}`, `at /openapi: want a version 3.0.x or 3.1.x, got "2.0"`},
		"swagger":               {`{"swagger":"2.0"}`, "at /openapi"},
		"paths":                 {head + `"paths":[]}`, "at /paths: must be an object"},
		"path":                  {head + `"paths":{"a":{}}}`, "at /paths/a: the path must begin with /"},
		"brace":                 {head + `"paths":{"/{a":{}}}`, "brace has no partner"},
		"same path":             {head + `"paths":{"/{a}":{},"/{b}":{}}}`, "at /paths/~1{b}: the path is the same as another"},
		"parameter of the path": {head + `"paths":{"/{a}":{"get":{}}}}`, "at /paths/~1{a}/get: the path's parameter {a} is not declared"},
		"place of a parameter":  {head + `"paths":{"/a":{"get":{"parameters":[{"name":"x","in":"quary"}]}}}}`, `at /paths/~1a/get/parameters/0/in: want path, query, header or cookie, got "quary"`},
		"style":                 {head + `"paths":{"/a":{"get":{"parameters":[{"name":"x","in":"query","style":"simple"}]}}}}`, "at /paths/~1a/get/parameters/0/style"},
		"dangling parameter":    {head + `"paths":{"/a":{"get":{"parameters":[{"$ref":"#/components/parameters/x"}]}}}}`, "at /paths/~1a/get/parameters/0/$ref"},
		"circle":                {head + `"paths":{"/a":{"get":{"parameters":[{"$ref":"#/components/x"}]}}},"components":{"x":{"$ref":"#/components/x"}}}`, "circle"},
		"type of a schema":      {head + `"paths":{"/a":{"get":{"parameters":[{"name":"x","in":"query","schema":{"type":"int"}}]}}}}`, "at /paths/~1a/get/parameters/0/schema/type"},
		"keyword of a component": {head + `"paths":{"/a":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/X"}}}}}}},
			"components":{"schemas":{"X":{"properties":{"y":{"minimum":"1"}}}}}}`, "at /components/schemas/X/properties/y/minimum: must be a number"},
		"pattern": {head + `"paths":{"/a":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/X"}}}}}}},
			"components":{"schemas":{"X":{"properties":{"y":{"pattern":"("}}}}}}`, "/components/schemas/X/properties/y/pattern"},
		"dangling schema":  {head + `"paths":{"/a":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/X"}}}}}}}}`, `"#/components/schemas/X" points to nothing`},
		"no media type":    {head + `"paths":{"/a":{"post":{"requestBody":{}}}}}`, "at /paths/~1a/post/requestBody/content"},
		"to the network":   {head + `"paths":{"/a":{"post":{"requestBody":{"$ref":"https://example.com/x.json"}}}}}`, "network"},
		"schema no object": {head + `"paths":{"/a":{"get":{"parameters":[{"name":"x","in":"query","schema":{"properties":{"a":5}}}]}}}}`, "schema/properties/a: a schema must be an object"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, "d.json", c.text)
			err := tryProvision(t, &Handler{OpenAPI: &OpenAPI{Document: file}})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("error %v\nwant …%s… and the file", err, c.want)
			}
		})
	}
}

func TestOpenAPI_SeveralFiles(t *testing.T) {
	file := writeFile(t, "d.yaml", `
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /a:
    post:
      requestBody: {content: {application/json: {schema: {$ref: "schemas.yaml#/A"}}}}
      responses: {200: {description: ok}}
`)
	writeBeside(t, file, "schemas.yaml", "A: {type: object, required: [b], properties: {b: {$ref: '#/B'}}}\nB: {type: integer, minimum: 3}\n")
	h := provision(t, &Handler{OpenAPI: &OpenAPI{Document: file}})
	if _, got := call(h, &upstream{}, "POST", "/a", "application/json", `{"b":2}`); got != "b: must be at least 3" {
		t.Errorf("got %q", got)
	}
}

// documentServer serves a document that a test may change.
func documentServer(t *testing.T) (*httptest.Server, func(status int, body string)) {
	t.Helper()
	type answer struct {
		status int
		body   string
	}
	ch := make(chan answer, 1)
	ch <- answer{503, ""}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := <-ch
		ch <- a
		etag := fmt.Sprintf(`"%d"`, len(a.body))
		if a.status == 200 && r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(304)
			return
		}
		w.Header().Set("ETag", etag)
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
	}))
	t.Cleanup(srv.Close)
	return srv, func(status int, body string) {
		<-ch
		ch <- answer{status, body}
	}
}

func minimalDocument(max int) string {
	return fmt.Sprintf(`{"openapi":"3.1.0","info":{"title":"t","version":"%d"},"paths":{"/a":{"get":{"parameters":[{"name":"n","in":"query","schema":{"type":"integer","maximum":%d}}]}}}}`, max, max)
}

func TestRemote_LastGoodStays(t *testing.T) {
	srv, set := documentServer(t)
	ctx, cancel := caddy.NewContext(testContext(t))
	defer cancel()
	h := &Handler{OpenAPI: &OpenAPI{Document: srv.URL + "/openapi.json", Refresh: caddy.Duration(time.Hour)}}
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	u := &upstream{}
	if status, _ := call(h, u, "GET", "/a?n=1", "", ""); status != 503 {
		t.Errorf("before the first document: %d, want 503", status)
	}
	p := &part{remote: h.source.remote}
	refresh := func() error {
		_, err := p.Act(t.Context(), "refresh", nil)
		return err
	}
	for _, step := range []struct {
		status int
		body   string
		ok     bool
		limit  int
	}{
		{200, minimalDocument(10), true, 10},
		{200, minimalDocument(10), true, 10}, // 304
		{500, "", false, 10},
		{200, "{", false, 10},
		{200, `{"openapi":"3.1.0","paths":{"/a":{"get":{"parameters":[{"name":"n","in":"query","schema":{"type":"int"}}]}}}}`, false, 10},
		{302, "", false, 10},
		{200, minimalDocument(100), true, 100},
	} {
		set(step.status, step.body)
		if err := refresh(); (err == nil) != step.ok {
			t.Errorf("%d %s: error %v", step.status, step.body, err)
		}
		if status, _ := call(h, u, "GET", fmt.Sprint("/a?n=", step.limit), "", ""); status != 200 {
			t.Errorf("after %d %.40s: the limit itself gives %d", step.status, step.body, status)
		}
		if status, _ := call(h, u, "GET", fmt.Sprint("/a?n=", step.limit+1), "", ""); status != 400 {
			t.Errorf("after %d %.40s: above the limit gives %d", step.status, step.body, status)
		}
	}
	snapshot, err := json.Marshal(p.Snapshot())
	if err != nil || !strings.Contains(string(snapshot), `"version":"100"`) {
		t.Errorf("snapshot %s, %v", snapshot, err)
	}
	if _, err := p.Act(t.Context(), "explode", nil); err == nil {
		t.Error("an unknown action is accepted")
	}
}

// A URL that stays away for days is asked no more often than refresh says.
func TestRemote_PauseAfterFailures(t *testing.T) {
	r := &remote{refresh: time.Minute}
	for failures, want := range map[int]time.Duration{0: time.Minute, 1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute} {
		if got := r.pause(failures); got != want {
			t.Errorf("after %d failures %s, want %s", failures, got, want)
		}
	}
	for failures := 7; failures < 10_000; failures++ {
		if got := r.pause(failures); got != time.Minute {
			t.Fatalf("after %d failures %s", failures, got)
		}
	}
}

// An operator who asks while the URL hangs gets an answer.
func TestRemote_SnapshotWaitsForNoFetch(t *testing.T) {
	asked, hang := make(chan struct{}, 100), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-hang
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(hang) })
	r := newRemote(srv.URL, time.Minute, documentOptions{})
	t.Cleanup(func() { _ = r.Destruct() })
	<-asked
	s := (&part{remote: r}).Snapshot().(map[string]any)
	if s["loaded"] != false || s["error"] != nil {
		t.Errorf("while the first fetch hangs: %v", s)
	}
}

func TestRemote_OnMissingPass(t *testing.T) {
	srv, _ := documentServer(t)
	ctx, cancel := caddy.NewContext(testContext(t))
	defer cancel()
	h := &Handler{OpenAPI: &OpenAPI{Document: srv.URL, OnMissing: "pass"}}
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if status, _ := call(h, &upstream{}, "GET", "/a?n=1", "", ""); status != 200 {
		t.Errorf("status %d", status)
	}
	if err := h.Cleanup(); err != nil {
		t.Error(err)
	}
}

// Reload: the new config comes before the old one goes, and one that is
// rejected comes and goes.
func TestRemote_SurvivesReloads(t *testing.T) {
	srv, set := documentServer(t)
	set(200, minimalDocument(5))
	load := func() *Handler {
		ctx, cancel := caddy.NewContext(testContext(t))
		t.Cleanup(cancel)
		h := &Handler{OpenAPI: &OpenAPI{Document: srv.URL, Refresh: caddy.Duration(time.Hour)}}
		if err := h.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := load()
	<-first.source.remote.first // a request waits a second for it, a busy machine may take longer
	if status, got := call(first, &upstream{}, "GET", "/a?n=6", "", ""); status != 400 {
		t.Fatalf("%d %s", status, got)
	}
	set(503, "")
	rejected, second := load(), load()
	for _, h := range []*Handler{rejected, first} {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	}
	if second.source.remote != first.source.remote {
		t.Error("the reload began anew")
	}
	if status, got := call(second, &upstream{}, "GET", "/a?n=6", "", ""); status != 400 {
		t.Errorf("after the reload: %d %s", status, got)
	}
	if err := second.Cleanup(); err != nil {
		t.Error(err)
	}
	if n, ok := remotes.References(second.source.key); ok {
		t.Errorf("%d references are left", n)
	}
}

func TestProvision_NamesWhatIsWrongWithADocument(t *testing.T) {
	file := writeFile(t, "d.json", minimalDocument(1))
	for _, c := range []struct {
		h    Handler
		want string
	}{
		{Handler{Schema: "a", OpenAPI: &OpenAPI{Document: "b"}}, `schema "a" and openapi "b" exclude each other`},
		{Handler{OpenAPI: &OpenAPI{}}, "want a file or a URL"},
		{Handler{OpenAPI: &OpenAPI{Document: file, OnUnknown: "ask"}}, `on_unknown: want refuse or pass, got "ask"`},
		{Handler{OpenAPI: &OpenAPI{Document: file, OnAmbiguous: "404"}}, `on_ambiguous: want refuse or pass, got "404"`},
		{Handler{OpenAPI: &OpenAPI{Document: file, Refresh: caddy.Duration(time.Minute)}}, "refresh and on_missing go with a URL only"},
		{Handler{OpenAPI: &OpenAPI{Document: file, BasePath: "v1"}}, `base_path must begin with /, got "v1"`},
		{Handler{OpenAPI: &OpenAPI{Document: "http://u:secret@h/x"}}, "without a password"},
		{Handler{OpenAPI: &OpenAPI{Document: "http://h/x", Refresh: 5}}, "refresh must be at least 1s"},
	} {
		if err := tryProvision(t, &c.h); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want …%s…", err, c.want)
		}
	}
}

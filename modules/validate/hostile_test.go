package validate

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/fairway-gateway/fairway/test/process"
)

// costLimit is processor time that only a check without bounds needs. Those here
// take some hundred milliseconds at most.
const costLimit = 20 * time.Second

// affordable fails the test if f takes a lot of processor time.
func affordable(t *testing.T, f func()) {
	t.Helper()
	before := process.SelfCPU()
	f()
	spent := process.SelfCPU() - before
	t.Logf("%s of processor time", spent.Round(time.Millisecond))
	if spent > costLimit {
		t.Errorf("took %s of processor time", spent)
	}
}

func repeated(open, each, end string, n int) string {
	return open + strings.TrimSuffix(strings.Repeat(each+",", n), ",") + end
}

func numbered(open, each, end string, n int) string {
	var b strings.Builder
	b.WriteString(open)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, each, i)
	}
	return b.String() + end
}

// Bodies of the largest size that is allowed, for the keywords that cost most.
func TestHostile_CostlyKeywordsStayAffordable(t *testing.T) {
	wide := Limits{Values: 1 << 20, Items: 1 << 20, Members: 1 << 20}
	for name, c := range map[string]struct{ schema, body string }{
		"uniqueItems, 100000 numbers": {`{"uniqueItems":true}`, numbered("[", "%d", "]", 100_000)},
		"uniqueItems, 30000 objects":  {`{"uniqueItems":true}`, numbered("[", `{"a":[%d],"b":1}`, "]", 30_000)},
		"uniqueItems, equal hashes":   {`{"uniqueItems":true}`, repeated("[", `{"a":0}`, "]", 100_000)},
		"enum of 10000":               {numbered(`{"items":{"enum":[`, `"value-%06d"`, `]}}`, 10_000), repeated("[", `"value-009999"`, "]", 60_000)},
		"enum of 1000 numbers":        {numbered(`{"items":{"enum":[`, `%d`, `]}}`, 1000), repeated("[", `999.0`, "]", 20_000)},
		"a pattern on 1 MiB":          {`{"items":{"pattern":"^(a+)+(b|aa)*$"}}`, `["` + strings.Repeat("a", 1<<20-10) + `!"]`},
		"a large pattern on 256 KiB":  {`{"items":{"pattern":"[ab]*a[ab]{400}c$"}}`, `["` + strings.Repeat("a", 256<<10) + `"]`},
		"200 patterns for names":      {numbered(`{"patternProperties":{`, `"^x[a-z]*%d$":{"type":"integer"}`, `}}`, 200), numbered("{", `"x%06d":1`, "}", 10_000)},
		"unevaluatedProperties":       {`{"allOf":[{"properties":{"a":true}},{"anyOf":[{"patternProperties":{"^x":true}},{"properties":{"b":true}}]}],"unevaluatedProperties":false}`, numbered("{", `"x%06d":1`, "}", 50_000)},
		"unevaluatedItems":            {`{"allOf":[{"prefixItems":[true]},{"contains":{"type":"integer"}}],"unevaluatedItems":false}`, numbered("[", `%d`, "]", 100_000)},
		"contains":                    {`{"contains":{"type":"string","pattern":"^y"},"minContains":1}`, repeated("[", `"x"`, "]", 100_000)},
		"multipleOf of long numbers":  {`{"items":{"multipleOf":0.0000001}}`, repeated("[", "1"+strings.Repeat("3", 100)+"e308", "]", 9000)},
		"bounds of long numbers":      {`{"items":{"type":"integer","maximum":10}}`, repeated("[", "1"+strings.Repeat("3", 100)+"e308", "]", 9000)},
		"an error for every value":    {`{"items":{"oneOf":[{"type":"string"},{"type":"object","required":["a"]}]}}`, repeated("[", "1", "]", 100_000)},
		"__proto__ in every object":   {`{"items":{"additionalProperties":false}}`, repeated("[", `{"__proto__":{"admin":true}}`, "]", 30_000)},
	} {
		t.Run(name, func(t *testing.T) {
			v := newBodyValidator(mustSchema(t, c.schema), newRuleBuilder(), wide.withDefaults(), newRewriter(true, true))
			affordable(t, func() {
				_, _, issues, _ := v.validate([]byte(c.body))
				if len(issues) > maxIssues+1 {
					t.Errorf("%d issues", len(issues))
				}
			})
		})
	}
}

// What no machine could check is refused when the config loads.
func TestHostile_SchemasThatCannotBeChecked(t *testing.T) {
	for schema, want := range map[string]string{
		`{"properties":{"a":{"pattern":"(a{1000}){1000}"}}}`:                       "at /properties/a/pattern: must be a regular expression",
		`{"properties":{"a":{"patternProperties":{"((a{100}){100}){100}":true}}}}`: `at /properties/a/patternProperties: has a member of a name that is not allowed, "((a{100}){100}){100}"`,
		`{"properties":{"a":{"pattern":"(?=a)b"}}}`:                                "at /properties/a/pattern: must be a regular expression",
		`{"$ref":"#/$defs/no"}`:                                                    "no",
		strings.Repeat(`{"not":`, 600) + "{}" + strings.Repeat("}", 600):           "nested more than 512 levels deep",
	} {
		err := tryProvision(t, &Handler{Schema: writeFile(t, "s.json", schema)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v", schema, err)
		}
	}
}

func TestHostile_ReferencesThatGoRound(t *testing.T) {
	for _, schema := range []string{`{"$ref":"#"}`, `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`} {
		h, u := &Handler{Schema: writeFile(t, "s.json", schema)}, &upstream{}
		if err := tryProvision(t, h); err != nil {
			continue
		}
		w := httptest.NewRecorder()
		serve(h, u).ServeHTTP(w, register(`{"a":1}`))
		if w.Code != 400 || u.calls != 0 {
			t.Errorf("%s: status %d", schema, w.Code)
		}
	}
}

func TestHostile_Queries(t *testing.T) {
	h, u := shop(t, nil), &upstream{}
	for name, c := range map[string]struct{ query, want string }{
		"a million parameters":     {strings.Repeat("a&", 1_000_000), "query: has more than 10000 parameters"},
		"9999 of them":             {strings.Repeat("tag=a&", 9_998) + "tag=b", "query.tag: must have at most 3 items"},
		"a million in a list":      {"ids=" + strings.Repeat("1,", 1_000_000), "query.ids[1000000]: must be a whole number"},
		"9999 members":             {numberedQuery("filter[%d]=1", 9_999), "query.filter"},
		"a member twice":           {"filter[min]=1&filter[min]=2", "query.filter: must name each member once"},
		"a member twice, escaped":  {"filter[min]=1&filter%5Bm%69n%5D=2", "query.filter: must name each member once"},
		"__proto__":                {"filter[__proto__]=1", "query.filter.__proto__: is not allowed"},
		"nested":                   {"filter[a][b]=1", `query.filter["a][b"]: is not allowed`},
		"semicolons":               {"limit=1;limit=1000", "query: is malformed"},
		"half an escape":           {"limit=%", "query: is malformed"},
		"a number bomb":            {"limit=1e1000000000", "query.limit: must be a whole number"},
		"a long number":            {"limit=" + strings.Repeat("9", 500_000), "query.limit: must be a whole number"},
		"a hexadecimal number":     {"limit=0x10", "query.limit: must be a whole number"},
		"a number in full width":   {"limit=１", "query.limit: must be a whole number"},
		"a depth bomb":             {"q=" + strings.Repeat("[", 100_000), "query.q: must be JSON"},
		"members twice in JSON":    {`q={"a":1,"a":2}`, "query.q: must be JSON"},
		"the same by another case": {"limit=1&LIMIT=1000", ""},
	} {
		t.Run(name, func(t *testing.T) {
			*u = upstream{}
			affordable(t, func() {
				r := httptest.NewRequest("GET", "/v1/orders", nil)
				r.URL.RawQuery = c.query
				r.Header.Set("X-Tenant", "0199f3c2-0000-7000-8000-000000000000")
				w := httptest.NewRecorder()
				serve(h, u).ServeHTTP(w, r)
				if !strings.Contains(w.Body.String(), c.want) || (w.Code == 200) != (c.want == "") {
					t.Errorf("%d %.200s\nwant %s", w.Code, w.Body, c.want)
				}
			})
		})
	}
}

func numberedQuery(each string, n int) string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = fmt.Sprintf(each, i)
	}
	return strings.Join(pairs, "&")
}

// However a path is written, a request for an operation of the document does not
// go by unchecked.
func TestHostile_PathsInDisguise(t *testing.T) {
	u := &upstream{}
	passing := shop(t, func(h *Handler) { h.OpenAPI.OnUnknown = "pass" })
	refusing := shop(t, nil)
	for target, want := range map[string][2]int{ // passing, refusing
		"/v1/orders":                       {400, 400}, // the body is wrong
		"/v1//orders":                      {400, 404},
		"//v1/orders":                      {400, 404},
		"/v1/orders/":                      {400, 404},
		"/v1/./orders":                     {400, 404},
		"/v1/x/../orders":                  {400, 404},
		"/v1/x/%2e%2e/orders":              {400, 404},
		"/v1/x/%2E./orders":                {400, 404},
		"/v1/x%2F..%2Forders":              {400, 404},
		"/v1/x/%252e%252e/orders":          {400, 404},
		"/v1%2Forders":                     {400, 404},
		`/v1\orders`:                       {400, 404},
		"/v1%5Corders":                     {400, 404},
		"/V1/Orders":                       {400, 404},
		"/v1/orders;a=b":                   {400, 404},
		"/v1;x/orders":                     {400, 404},
		"/v1/%6frders":                     {400, 400}, // the same path (RFC 3986, 6.2.2.2)
		"/v1/orders/9/../../orders":        {400, 404},
		"/v1/orders/9/../../../v1//orders": {400, 404},
		"/v1/other":                        {200, 404},
		"/v1/orders%00":                    {200, 404},
		"/other/%2F/a":                     {200, 404},
	} {
		for i, h := range []*Handler{passing, refusing} {
			*u = upstream{}
			r := httptest.NewRequest("POST", "/", strings.NewReader(`{"items":[]}`))
			r.Header.Set("Content-Type", "application/json")
			parsed, err := url.Parse("http://x" + strings.ReplaceAll(target, `\`, "%5C"))
			if err != nil {
				t.Fatal(err)
			}
			parsed.RawPath = target
			r.URL = parsed
			w := httptest.NewRecorder()
			serve(h, u).ServeHTTP(w, r)
			if w.Code != want[i] || (u.calls > 0) != (want[i] == 200) {
				t.Errorf("%s: %d %s\nwant %d", target, w.Code, w.Body, want[i])
			}
		}
	}
}

// What is true of the paths of a document whose paths end in a slash, or differ
// by nothing but case.
func TestHostile_PathsThatEndInASlash(t *testing.T) {
	const doc = `
openapi: 3.0.3
servers: [{url: /V1}]
paths:
  /users/: {post: {requestBody: {required: true, content: {application/json: {}}}}}
  /Teams/{id}/: {get: {parameters: [{$ref: "#/components/parameters/id"}]}}
  /teams/{key}: {get: {parameters: [{$ref: "#/components/parameters/key"}]}, delete: {parameters: [{$ref: "#/components/parameters/key"}]}}
components:
  parameters:
    id: {name: id, in: path, required: true, schema: {type: string}}
    key: {name: key, in: path, required: true, schema: {type: string, maxLength: 10}}
`
	h, u := provision(t, &Handler{OpenAPI: &OpenAPI{Document: writeFile(t, "slash.yaml", doc)}}), &upstream{}
	for target, want := range map[string]int{
		"POST /V1/users/": 400, "POST /V1/users": 400, "POST /v1/Users/": 400, "POST /V1//users/": 400, "post /V1/users/": 400, "POST /v1": 200,
		"POST /V1/users/x": 200, "PUT /V1/users": 200, "put /V1/users/": 200,
		"GET /V1/Teams/a%20b/": 200, "GET /V1/teams/a%20b": 200, "GET /V1/teams/much%20too%20long": 400,
		"GET /V1/Teams/a": 400, "DELETE /V1/TEAMS/a": 400, "DELETE /V1/teams/a": 200,
	} {
		*u = upstream{}
		method, path, _ := strings.Cut(target, " ")
		if status, got := call(h, u, method, path, "", ""); status != want || (u.calls > 0) != (want == 200) {
			t.Errorf("%s: %d %s, want %d", target, status, got, want)
		}
	}
}

// Whoever has an upstream that tells /orders from /orders/ and /Orders can say so.
func TestOpenAPI_OnAmbiguousPass(t *testing.T) {
	u := &upstream{}
	says := func(options string) func(*Handler) {
		return func(h *Handler) {
			text := "validate {\n openapi " + h.OpenAPI.Document + " {\n on_ambiguous pass\n" + options + "\n }\n}"
			if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	passing, refusing := shop(t, says("on_unknown pass")), shop(t, says("on_unknown refuse"))
	for target, want := range map[string][2]int{ // what else is unknown: passing, refused
		"POST /v1/orders": {400, 400}, "POST /v1/orders/": {200, 404}, "POST /v1/Orders": {200, 404},
		"POST /v1//orders": {200, 404}, "post /v1/orders": {200, 405}, "POST /v1/%6frders": {400, 400},
	} {
		method, path, _ := strings.Cut(target, " ")
		for i, h := range []*Handler{passing, refusing} {
			if status, got := call(h, u, method, path, "", ""); status != want[i] {
				t.Errorf("%s: %d %s, want %d", target, status, got, want[i])
			}
		}
	}
}

// A value with a slash in it is a value as long as it makes no other operation.
func TestHostile_SlashesInValues(t *testing.T) {
	const doc = `
openapi: 3.1.0
paths:
  /repos/{name}: {get: {parameters: [{$ref: "#/components/parameters/name"}]}}
  /repos/{name}/keys: {get: {parameters: [{$ref: "#/components/parameters/name"}]}, post: {x-fairway-validate: false, parameters: [{$ref: "#/components/parameters/name"}]}}
components: {parameters: {name: {name: name, in: path, required: true, schema: {type: string, maxLength: 10}}}}
`
	h, u := provision(t, &Handler{OpenAPI: &OpenAPI{Document: writeFile(t, "r.yaml", doc)}}), &upstream{}
	for target, want := range map[string]int{
		"/repos/group%2Fname": 200, "/repos/group%2Fkeys": 400, "/repos/group%252Fkeys": 400, "/repos/much%20too%20long": 400,
	} {
		if status, got := call(h, u, "GET", target, "", ""); status != want {
			t.Errorf("%s: %d %s, want %d", target, status, got, want)
		}
	}
}

func TestHostile_ContentTypes(t *testing.T) {
	u := &upstream{}
	h := provision(t, &Handler{Schema: registerSchema})
	for _, types := range [][]string{
		{"application/json;charset=utf-16"},
		{"application/json; charset=UTF-8; charset=utf-16"},
		{"application/json", "text/plain"},
		{"application/json, text/plain"},
		{"text/plain; application/json"},
		{"application/json;"}, // with nothing behind it, some take it for another
		{"application/+json"},
		{"application/json\x00"},
		{"application//json"},
		{"json"},
		{""},
		{"*/*"},
		{"application/*"},
		{"application/jsonp"},
		{"application/json+xml"},
		{"multipart/form-data; boundary=x"},
		{strings.Repeat("a", 100_000) + "/json"},
	} {
		r := register(`{"email":1}`)
		r.Header["Content-Type"] = types
		w := httptest.NewRecorder()
		serve(h, u).ServeHTTP(w, r)
		if w.Code != 400 && w.Code != 415 || u.calls > 0 {
			t.Errorf("%.60q: status %d, upstream called %d times", types, w.Code, u.calls)
		}
	}
}

// Over HTTP/2 a body without end is as bounded as over HTTP/1.1.
func TestHostile_EndlessBodyOverHTTP2(t *testing.T) {
	u := &upstream{}
	h := provision(t, &Handler{Schema: registerSchema, ReadTimeout: caddy.Duration(200 * time.Millisecond)})
	srv := httptest.NewUnstartedServer(serve(h, u))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	body, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	go func() { _, _ = io.WriteString(w, `{"email":`) }()
	req, err := http.NewRequest("POST", srv.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusRequestTimeout || u.calls > 0 {
		t.Errorf("%s %d, upstream called %d times", resp.Proto, resp.StatusCode, u.calls)
	}
}

package http

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/fairway-gateway/fairway/backend"
)

// fields returns the fields that a 400 complains about, in order, and checks its
// shape.
func fields(f *fixture, a *answer) string {
	f.t.Helper()
	f.want(400, a)
	p := decode[problem](f.t, a)
	if a.Header.Get("Content-Type") != problemJSON || p.Reason != "Validation failed" || p.Status != 400 || p.Code != "validation_failed" || p.Type != "about:blank" {
		f.t.Errorf("the problem is %+v as %q", p, a.Header.Get("Content-Type"))
	}
	var names []string
	for _, d := range p.Details {
		if d.Message == "" {
			f.t.Errorf("nothing is said about %q", d.Field)
		}
		names = append(names, d.Field)
	}
	return strings.Join(names, " ")
}

func TestRegister_EveryWrongFieldIsListed(t *testing.T) {
	f := onSQLite(t, nil)
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	for name, tc := range map[string]struct{ body, want string }{
		"all wrong":            {`{"email":"nope","password":"x","name":"A","age":5}`, "age email name password"},
		"all missing":          {`{}`, "email name password"},
		"types":                {`{"email":1,"password":[],"name":{},"age":"x"}`, "age email name password"},
		"type and rule":        {`{"age":"x","email":"Ada <a@b.co>","name":"Ada","password":"         "}`, "age email password"},
		"age is a fraction":    {`{"email":"a@b.co","password":"12345678","name":"Ada","age":13.5}`, "age"},
		"age is huge":          {`{"email":"a@b.co","password":"12345678","name":"Ada","age":1e300}`, "age"},
		"age twice":            {`{"email":"a@b.co","password":"12345678","name":"Ada","age":20,"age":5}`, "age"},
		"age in another case":  {`{"email":"a@b.co","password":"12345678","name":"Ada","age":20,"AGE":5}`, "AGE"},
		"unknown member":       {`{"email":"a@b.co","password":"12345678","name":"Ada","role":"admin"}`, "role"},
		"null":                 {`{"email":null,"password":"12345678","name":"Ada"}`, "email"},
		"only spaces":          {`{"email":"a@b.co","password":"        ","name":"Ada"}`, "password"},
		"display name":         {`{"email":"Ada <a@b.co>","password":"12345678","name":"Ada"}`, "email"},
		"confusable":           {`{"email":"аda@b.co","password":"12345678","name":"Ada"}`, "email"},
		"NUL in the name":      {`{"email":"a@b.co","password":"12345678","name":"Ada\u0000"}`, "name"},
		"lone surrogate":       {`{"email":"a@b.co","password":"12345678","name":"Ada\ud800"}`, "body"},
		"not an object":        {`[1,2]`, "body"},
		"null body":            {`null`, "body"},
		"not JSON":             {`{"email"`, "body"},
		"trailing data":        {`{"email":"a@b.co","password":"12345678","name":"Ada"}{}`, "body"},
		"deeply nested":        {deep, "a email name password"},
		"invalid UTF-8":        {"{\"email\":\"a@b.co\",\"password\":\"12345678\",\"name\":\"Ada\xff\"}", "body"},
		"comment is no JSON":   {`{"email":"a@b.co"/* */}`, "body"},
		"single quotes":        {`{'email':'a@b.co'}`, "body"},
		"empty strings":        {`{"email":"","password":"","name":""}`, "email name password"},
		"password is too long": {`{"email":"a@b.co","password":"` + strings.Repeat("x", 257) + `","name":"Ada"}`, "password"},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.do("POST", "/api/auth/register", tc.body)
			if got := fields(f, a); got != tc.want {
				t.Errorf("fields = %q, want %q; body %s", got, tc.want, a.body)
			}
		})
	}
	if got := fields(f, f.do("POST", "/api/auth/register", "")); got != "body" {
		t.Errorf("without a body: fields = %q", got)
	}
}

func TestErrors_OneShape(t *testing.T) {
	f := onSQLite(t, nil)
	_, ada := f.register("ada@example.com")
	_, _ = f.register("bob@example.com")
	json := []string{"Content-Type", "application/json"}
	for name, tc := range map[string]struct {
		a      *answer
		status int
		reason string
	}{
		"no such route":    {f.do("GET", "/nope", ""), 404, "Not found"},
		"wrong method":     {f.do("PUT", "/api/users/me", ""), 405, "Method not allowed"},
		"no token":         {f.do("GET", "/api/users/me", ""), 401, "Unauthorized"},
		"bad token":        {f.do("GET", "/api/users/me", "", "Authorization", "Bearer x.y.z"), 401, "Unauthorized"},
		"another scheme":   {f.do("GET", "/api/users/me", "", "Authorization", "Basic YTpi"), 401, "Unauthorized"},
		"another's page":   {f.do("GET", "/api/users/2", "", ada...), 403, "Forbidden"},
		"nobody's page":    {f.do("GET", "/api/users/99", "", ada...), 403, "Forbidden"},
		"list is no admin": {f.do("GET", "/api/users", "", ada...), 403, "Forbidden"},
		"form":             {f.do("POST", "/api/auth/login", "a=b", "Content-Type", "application/x-www-form-urlencoded"), 415, "Unsupported media type"},
		"too large":        {f.do("POST", "/api/auth/login", `{"email":"`+strings.Repeat("x", maxBody)+`"}`, json...), 413, "Content too large"},
		"wrong password":   {f.do("POST", "/api/auth/login", `{"email":"ada@example.com","password":"wrong horse"}`), 401, "Unauthorized"},
		"nobody's login":   {f.do("POST", "/api/auth/login", `{"email":"eve@example.com","password":"wrong horse"}`), 401, "Unauthorized"},
		"taken":            {f.do("POST", "/api/auth/register", `{"email":"ADA@example.com","password":"12345678","name":"Ada"}`), 409, "Conflict"},
		"bogus refresh":    {f.do("POST", "/api/auth/refresh", `{"refresh_token":"x"}`), 401, "Unauthorized"},
	} {
		p := decode[problem](t, tc.a)
		if tc.a.StatusCode != tc.status || p.Status != tc.status || p.Reason != tc.reason || p.RequestID != "" || p.Code != strings.ReplaceAll(strings.ToLower(tc.reason), " ", "_") ||
			tc.a.Header.Get("Content-Type") != problemJSON || tc.a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s, want %d %q", name, tc.a.StatusCode, tc.a.Header, tc.a.body, tc.status, tc.reason)
		}
	}
	for _, a := range []*answer{
		f.do("GET", "/nope", "", "X-Request-Id", "abc"), f.do("GET", "/api/users/me", "", "X-Request-Id", "abc"),
		f.do("POST", "/api/auth/login", "{}", "X-Request-Id", "abc"),
	} {
		if p := decode[problem](t, a); p.RequestID != "abc" {
			t.Errorf("%s does not name the request", a.body)
		}
	}
	if p := decode[problem](t, f.do("GET", "/nope", "", "X-Request-Id", strings.Repeat("x", 129))); p.RequestID != "" {
		t.Errorf("an endless id is echoed")
	}
	f.want(401, f.do("POST", "/api/auth/login", `{"email":"a@b.co","password":"x"}`, "Content-Type", "APPLICATION/JSON; Charset=UTF-8"))
	if got := f.do("PUT", "/api/users/me", "").Header.Get("Allow"); !strings.Contains(got, "PATCH") || !strings.Contains(got, "GET") {
		t.Errorf("Allow = %q, want what may be done", got)
	}
	if got := f.do("GET", "/api/users/me", "", "Authorization", "Bearer x").Header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
		t.Errorf("WWW-Authenticate = %q, want it to name the token", got)
	}
}

func TestUser_FromRegistrationToDeletion(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		id, ada := f.register("Ada@Example.com")
		self := fmt.Sprintf("/api/users/%d", id)
		patched := f.want(200, f.do("PATCH", "/api/users/me", `{"age":36,"profile":{"bio":"First.","website":"https://example.com/"}}`, ada...))
		read := f.want(200, f.do("GET", self, "", ada...))
		u := decode[userBody](f.t, read)
		if patched.body != read.body || u.Email != "ada@example.com" || *u.Age != 36 || *u.Profile.Bio != "First." || u.Version != 2 {
			f.t.Errorf("GET = %s, PATCH = %s", read.body, patched.body)
		}
		f.want(200, f.do("PATCH", self, `{"age":null,"profile":{"bio":null}}`, ada...))
		u = decode[userBody](f.t, f.want(200, f.do("GET", "/api/users/me", "", ada...)))
		f.want(200, f.do("PATCH", self, `{"profile":{"location":"London"}}`, ada...))
		if u.Age != nil || u.Profile.Bio != nil || u.Profile.Website == nil {
			f.t.Errorf("null did not clear, or cleared too much: %+v", u)
		}
		u = decode[userBody](f.t, f.want(200, f.do("PATCH", self, `{"profile":null}`, ada...)))
		if u.Profile != (profileBody{}) {
			f.t.Errorf("null did not clear the profile: %+v", u.Profile)
		}
		f.want(204, f.do("DELETE", "/api/users/me", "", ada...))
		f.want(401, f.do("GET", "/api/users/me", "", ada...))
	})
}

func TestPatch_BadInput(t *testing.T) {
	f := onSQLite(t, nil)
	_, ada := f.register("ada@example.com")
	for name, tc := range map[string]struct{ body, want string }{
		"nothing":         {`{}`, "body"},
		"only profile":    {`{"profile":{}}`, "body"},
		"null name":       {`{"name":null}`, "name"},
		"several":         {`{"name":"A","age":200,"profile":{"website":"javascript:alert(1)"}}`, "age name profile.website"},
		"unknown":         {`{"password_hash":"x"}`, "password_hash"},
		"unknown deeper":  {`{"profile":{"x":1}}`, "profile.x"},
		"profile is text": {`{"profile":"x"}`, "profile"},
		"id":              {`{"id":7}`, "id"},
	} {
		if got := fields(f, f.do("PATCH", "/api/users/me", tc.body, ada...)); got != tc.want {
			t.Errorf("%s: fields = %q, want %q", name, got, tc.want)
		}
	}
	f.want(403, f.do("PATCH", "/api/users/me", `{"role":"admin"}`, ada...))
	f.want(403, f.do("POST", "/api/users", `{"email":"x@y.zz","password":"12345678","name":"Eve","role":"admin"}`, ada...))
	f.want(400, f.do("GET", "/api/users/0", "", ada...))
	f.want(400, f.do("GET", "/api/users/-1", "", ada...))
	f.want(404, f.do("GET", "/api/users/9999999999999999999", "", ada...))
}

func TestConditional_ETagAndIfMatch(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		_, ada := f.register("ada@example.com")
		with := func(name, value string) []string { return append([]string{name, value}, ada...) }
		first := f.want(200, f.do("GET", "/api/users/me", "", ada...)).Header.Get("ETag")
		for _, tag := range []string{first, "W/" + first, `"x", ` + first, strings.TrimSuffix(first, `"`) + `-gzip"`, "*"} {
			if a := f.want(304, f.do("GET", "/api/users/me", "", with("If-None-Match", tag)...)); a.body != "" || a.Header.Get("ETag") != first {
				f.t.Errorf("304 for %s has body %q and ETag %s", tag, a.body, a.Header.Get("ETag"))
			}
		}
		f.want(200, f.do("GET", "/api/users/me", "", with("If-None-Match", `"x"`)...))

		second := f.want(200, f.do("PATCH", "/api/users/me", `{"name":"Bea"}`, with("If-Match", first)...)).Header.Get("ETag")
		f.want(412, f.do("PATCH", "/api/users/me", `{"name":"Cleo"}`, with("If-Match", first)...))
		f.want(412, f.do("PATCH", "/api/users/me", `{"name":"Cleo"}`, with("If-Match", "W/"+second)...))
		f.want(412, f.do("PATCH", "/api/users/me", `{"name":"Cleo"}`, with("If-Match", `"7-2"`)...))
		f.want(412, f.do("DELETE", "/api/users/me", "", with("If-Match", first)...))
		f.want(200, f.do("PATCH", "/api/users/me", `{"name":"Cleo"}`, with("If-Match", first+", "+second)...))
		f.want(200, f.do("PATCH", "/api/users/me", `{"name":"Dora"}`, with("If-Match", "*")...))
		f.want(200, f.do("GET", "/api/users/me", "", with("If-None-Match", first)...))
	})
}

func TestCaching_WhatTheGatewayIsTold(t *testing.T) {
	f := onSQLite(t, nil)
	id, ada := f.register("ada@example.com")
	admin := f.admin()
	group := fmt.Sprintf(`"user-%d"`, id)
	for path, want := range map[string][2]string{
		"/api/users/me": {group, "public, max-age=60"}, fmt.Sprintf("/api/users/%d", id): {group, "public, max-age=60"},
	} {
		h := f.want(200, f.do("GET", path, "", ada...)).Header
		if h.Get("Cache-Control") != "private, no-cache" || h.Get("Cache-Groups") != want[0] || h.Get("Fairway-Cache-Control") != want[1] || h.Get("Vary") != "Authorization" {
			t.Errorf("GET %s: %v", path, h)
		}
	}
	if h := f.want(200, f.do("GET", "/api/users", "", admin...)).Header; h.Get("Cache-Groups") != `"users"` || h.Get("Fairway-Cache-Control") != "public, max-age=10" {
		t.Errorf("the list: %v", h)
	}
	for name, a := range map[string]*answer{
		"patch":  f.want(200, f.do("PATCH", "/api/users/me", `{"name":"Bea"}`, ada...)),
		"delete": f.want(204, f.do("DELETE", "/api/users/me", "", ada...)),
	} {
		if got := a.Header.Get("Cache-Group-Invalidation"); got != group+`, "users"` || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s invalidates %q and is %q", name, got, a.Header.Get("Cache-Control"))
		}
	}
	if got := f.want(401, f.do("GET", "/api/users/me", "", ada...)).Header; got.Get("Fairway-Cache-Control") != "" {
		t.Errorf("a refusal may be cached: %v", got)
	}
}

func TestList_PagesForAdmins(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		admin := f.admin()
		for i := range 4 {
			f.want(201, f.do("POST", "/api/users", fmt.Sprintf(`{"email":"u%d@example.com","password":"12345678","name":"User %d","plan":"pro"}`, i, i), admin...))
		}
		type page struct {
			Users []userBody `json:"users"`
			Next  string     `json:"next"`
		}
		var got []string
		for path := "/api/users?limit=2&plan=pro"; path != ""; {
			a := f.want(200, f.do("GET", path, "", admin...))
			p := decode[page](f.t, a)
			for _, u := range p.Users {
				got = append(got, u.Email[:2])
			}
			link := a.Header.Get("Link")
			if (link == "") != (p.Next == "") {
				f.t.Errorf("next is %q and Link is %q", p.Next, link)
			}
			path, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
		}
		if strings.Join(got, " ") != "u3 u2 u1 u0" {
			f.t.Errorf("the pages have %v, want the newest first", got)
		}
		for query, want := range map[string]string{
			"limit=0": "limit", "limit=101": "limit", "limit=-1": "limit", "limit=x": "limit", "limit=99999999999999999999": "limit",
			"after=x": "after", "after=aWQ6LTE": "after", "role=root": "role", "email=x": "email", "name=%00": "name", "name=%ff": "name",
			"limit=0&role=x&after=!": "after limit role",
		} {
			if got := fields(f, f.do("GET", "/api/users?"+query, "", admin...)); got != want {
				f.t.Errorf("%s: fields = %q, want %q", query, got, want)
			}
		}
		if a := f.want(200, f.do("GET", "/api/users?name=nobody", "", admin...)); !strings.Contains(a.body, `"users":[]`) {
			f.t.Errorf("nobody is %s, want an empty list", a.body)
		}
	})
}

func TestRegistration_Closed(t *testing.T) {
	f := onSQLite(t, func(c *Config) { c.OpenRegistration = false })
	body := `{"email":"a@b.co","password":"12345678","name":"Ada"}`
	f.want(403, f.do("POST", "/api/auth/register", body))
	f.want(401, f.do("POST", "/api/users", body))
	f.want(201, f.do("POST", "/api/users", body, f.admin()...))
}

func TestCreate_OpenToAnybodyButNotWithABadToken(t *testing.T) {
	f := onSQLite(t, nil)
	body := `{"email":"a@b.co","password":"12345678","name":"Ada"}`
	f.want(401, f.do("POST", "/api/users", body, "Authorization", "Bearer x"))
	a := f.want(201, f.do("POST", "/api/users", body))
	if a.body != `{"id":1,"email":"a@b.co"}` || a.Header.Get("Location") != "/api/users/1" {
		t.Errorf("201 %s at %s", a.body, a.Header.Get("Location"))
	}
}

func TestAdmin_ChangesRoleAndPlan(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		id, _ := f.register("ada@example.com")
		f.want(200, f.do("PATCH", fmt.Sprintf("/api/users/%d", id), `{"role":"admin","plan":"pro"}`, f.admin()...))
		u := decode[struct {
			Users []userBody `json:"users"`
		}](f.t, f.want(200, f.do("GET", "/api/users?role=admin&plan=pro", "", f.login("ada@example.com")...)))
		if len(u.Users) != 1 || u.Users[0].ID != id || u.Users[0].Role != backend.RoleAdmin {
			f.t.Errorf("the new admin sees %+v", u)
		}
	})
}

func TestOpenAPI_Document(t *testing.T) {
	f := onSQLite(t, nil)
	a := f.want(200, f.do("GET", "/openapi.json", ""))
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("openapi = %q, want 3.1", doc.OpenAPI)
	}
	for _, path := range []string{"/api/users", "/api/users/export"} {
		if !strings.Contains(string(doc.Paths[path]["get"]), onlyTheseParameters) {
			t.Errorf("the document does not say that %s refuses other parameters", path)
		}
	}
	for path, methods := range map[string]string{
		"/api/auth/register": "post", "/api/auth/login": "post", "/api/auth/refresh": "post", "/api/auth/logout": "post",
		"/api/users": "get post", "/api/users/{id}": "get patch delete", "/.well-known/jwks.json": "get", "/health": "get", "/ready": "get",
	} {
		for m := range strings.FieldsSeq(methods) {
			if doc.Paths[path][m] == nil {
				t.Errorf("%s %s is not in the document", m, path)
			}
		}
	}
}

package validate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func testContext(t testing.TB) caddy.Context {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func tryProvision(t testing.TB, h *Handler) error {
	t.Helper()
	return h.Provision(testContext(t))
}

func provision(t testing.TB, h *Handler) *Handler {
	t.Helper()
	if err := tryProvision(t, h); err != nil {
		t.Fatal(err)
	}
	return h
}

// upstream is what stands behind the handler: it says what it got.
type upstream struct {
	calls  int
	url    string
	body   string
	header http.Header
	length int64
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	u.calls++
	u.url, u.body, u.header, u.length = r.URL.String(), string(b), r.Header.Clone(), r.ContentLength
	_, err = w.Write([]byte("ok"))
	return err
}

// serve answers as Caddy's server would: errors become their status, with the
// details one on a line.
func serve(h *Handler, u *upstream) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
		err := h.ServeHTTP(w, r, u)
		var he caddyhttp.HandlerError
		if !errors.As(err, &he) {
			return
		}
		w.WriteHeader(he.StatusCode)
		fmt.Fprintln(w, caddyhttp.GetVar(r.Context(), gateway.VarError))
		details, _ := caddyhttp.GetVar(r.Context(), gateway.VarDetails).([]gateway.Detail)
		for _, d := range details {
			fmt.Fprintf(w, "%s: %s\n", d.Field, d.Message)
		}
	})
}

const registerSchema = "../../schemas/register.json"

func register(body string) *http.Request {
	r := httptest.NewRequest("POST", "/api/auth/register", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func TestHandler_NamesAllFieldsOfABadRegistration(t *testing.T) {
	h, u := provision(t, &Handler{Schema: registerSchema, StripUnknown: true}), &upstream{}
	w := httptest.NewRecorder()
	serve(h, u).ServeHTTP(w, register(`{"email":"x","password":"short","name":"A","age":7}`))
	want := "Validation failed\nage: must be at least 13\nemail: must be an email address\n" +
		"name: must be at least 2 characters long\npassword: must be at least 8 characters long\n"
	if w.Code != 400 || w.Body.String() != want || u.calls != 0 {
		t.Errorf("%d, upstream called %d times\n%s\nwant\n%s", w.Code, u.calls, w.Body, want)
	}
}

func TestHandler_UpstreamGetsExactlyWhatWasValidated(t *testing.T) {
	h, u := provision(t, &Handler{Schema: registerSchema, StripUnknown: true}), &upstream{}
	plain := `{"email":"a@b.example", "password":"long enough", "name":"Ada"}`
	cases := map[string]struct{ sent, want string }{
		"as it came": {plain, plain},
		"without the unknown": {
			`{"role":"admin","email":"a@b.example","password":"long enough","name":"Ada"}`,
			`{"email":"a@b.example","password":"long enough","name":"Ada"}`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := register(c.sent)
			r.Header.Set("Content-Digest", "sha-256=:x:")
			r.Header.Set("Expect", "100-continue")
			r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
			r.Trailer = http.Header{"X-Checksum": nil}
			w := httptest.NewRecorder()
			serve(h, u).ServeHTTP(w, r)
			if w.Code != 200 || u.body != c.want {
				t.Fatalf("%d %s: upstream got %s, want %s", w.Code, w.Body, u.body, c.want)
			}
			if n := int64(len(c.want)); u.length != n || u.header.Get("Content-Length") != fmt.Sprint(n) {
				t.Errorf("length %d, header %q, want %d", u.length, u.header.Get("Content-Length"), n)
			}
			if kept := u.header.Get("Content-Digest") != ""; kept != (c.sent == c.want) {
				t.Errorf("digest kept: %v", kept)
			}
			if u.header.Get("Expect") != "" {
				t.Error("Expect goes on although the body is here")
			}
		})
	}
}

func TestHandler_WhatHasNoBody(t *testing.T) {
	h, u := provision(t, &Handler{Schema: registerSchema}), &upstream{}
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "DELETE": 200, "OPTIONS": 200, "POST": 400, "PUT": 400, "PATCH": 400} {
		w := httptest.NewRecorder()
		serve(h, u).ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		if w.Code != want {
			t.Errorf("%s without a body: %d, want %d", method, w.Code, want)
		}
		// As every GET over HTTP/3: nobody knows yet whether there is a body.
		r := httptest.NewRequest(method, "/", io.NopCloser(strings.NewReader("")))
		r.ContentLength = -1
		w = httptest.NewRecorder()
		serve(h, u).ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s with an empty body of unknown length: %d, want %d", method, w.Code, want)
		}
	}
	r := httptest.NewRequest("GET", "/", strings.NewReader(`{"email":1}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	serve(h, u).ServeHTTP(w, r)
	if w.Code != 400 {
		t.Errorf("GET with an invalid body: %d, want 400: a body is checked whatever the method", w.Code)
	}
}

func TestHandler_MediaTypes(t *testing.T) {
	h, u := provision(t, &Handler{Schema: registerSchema}), &upstream{}
	body := `{"email":"a@b.example","password":"long enough","name":"Ada"}`
	cases := map[string]struct {
		header http.Header
		want   int
	}{
		"JSON":             {http.Header{"Content-Type": {"application/json"}}, 200},
		"with charset":     {http.Header{"Content-Type": {`application/json; charset="UTF-8"`}}, 200},
		"suffix":           {http.Header{"Content-Type": {"application/vnd.api+json"}}, 200},
		"identity":         {http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity"}}, 200},
		"none":             {http.Header{}, 415},
		"form":             {http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 415},
		"text":             {http.Header{"Content-Type": {"text/plain"}}, 415},
		"other charset":    {http.Header{"Content-Type": {"application/json; charset=utf-16"}}, 415},
		"two types":        {http.Header{"Content-Type": {"application/json", "text/plain"}}, 415},
		"two in one field": {http.Header{"Content-Type": {"application/json, text/plain"}}, 415},
		"nonsense":         {http.Header{"Content-Type": {"application/json;;;="}}, 415},
		"gzip":             {http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, 415},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := register(body)
			r.Header = c.header
			w := httptest.NewRecorder()
			serve(h, u).ServeHTTP(w, r)
			if w.Code != c.want {
				t.Errorf("%v: %d %s, want %d", c.header, w.Code, w.Body, c.want)
			}
		})
	}
}

func TestHandler_WritesTheMediaTypeAsEveryUpstreamKnowsIt(t *testing.T) {
	h, u := provision(t, &Handler{Schema: registerSchema}), &upstream{}
	for sent, want := range map[string]string{
		"APPLICATION/JSON":                    "application/json",
		"Application/Json; Charset=utf-8":     "application/json; charset=utf-8",
		"application/json;charset=UTF-8":      "application/json;charset=UTF-8",
		"application/vnd.API+json; profile=x": "application/vnd.api+json; profile=x",
	} {
		r := register(`{"email":"a@b.example","password":"long enough","name":"Ada"}`)
		r.Header.Set("Content-Type", sent)
		serve(h, u).ServeHTTP(httptest.NewRecorder(), r)
		if got := u.header.Get("Content-Type"); got != want {
			t.Errorf("%s went on as %q, want %q", sent, got, want)
		}
	}
}

// The attack table: whatever comes over the wire is answered with a 4xx, and
// memory stays bounded.
func TestHandler_AttackTable(t *testing.T) {
	u := &upstream{}
	server := func(timeout time.Duration) string {
		h := provision(t, &Handler{Schema: registerSchema, MaxBody: 64 << 10, ReadTimeout: caddy.Duration(timeout)})
		srv := httptest.NewServer(serve(h, u))
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	patient, impatient := server(time.Minute), server(200*time.Millisecond)

	big := strings.Repeat("a", 1<<20)
	cases := map[string]struct {
		head, body string
		want       int
	}{
		"duplicates":                  {body: `{"email":"a@b.c","email":"d@e.f"}`, want: 400},
		"depth bomb of arrays":        {body: strings.Repeat("[", 60000), want: 400},
		"depth bomb of objects":       {body: strings.Repeat(`{"a":`, 12000), want: 400},
		"trailing data":               {body: `{"email":"a@b.example","password":"long enough","name":"Ada"}{"role":"admin"}`, want: 400},
		"trailing NUL":                {body: "{\"email\":\"a@b.example\",\"password\":\"long enough\",\"name\":\"Ada\"}\x00", want: 400},
		"wrong charset":               {head: "Content-Type: application/json; charset=latin1\r\n", body: `{}`, want: 415},
		"byte order mark":             {body: "\ufeff{}", want: 400},
		"UTF-16":                      {body: "\xff\xfe{\x00}\x00", want: 400},
		"huge number":                 {body: `{"age":1e999999999}`, want: 400},
		"number of 60000 digits":      {body: `{"age":` + strings.Repeat("9", 60000) + `}`, want: 400},
		"invalid UTF-8":               {body: "{\"name\":\"\xff\xfe\xfd\"}", want: 400},
		"lone surrogate":              {body: `{"name":"\ud800\ud800"}`, want: 400},
		"30000 members":               {body: "{" + strings.TrimSuffix(strings.Repeat(`"a":1,`, 10000), ",") + "}", want: 400},
		"too large as declared":       {head: "Content-Type: application/json\r\nContent-Length: 99999999999\r\n", want: 413},
		"too large, chunked":          {head: "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", body: "100000\r\n" + big + "\r\n0\r\n\r\n", want: 413},
		"chunked without end":         {head: "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", body: "5\r\n[1,2,\r\n", want: 408},
		"shorter than declared":       {head: "Content-Type: application/json\r\nContent-Length: 100\r\n", body: `{"a":1}`, want: 408},
		"chunk that is no chunk":      {head: "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", body: "zz\r\n{}\r\n", want: 400},
		"chunk extension without end": {head: "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", body: "2;" + big[:20000], want: 400},
		"gzip bomb":                   {head: "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", body: "\x1f\x8b", want: 415},
		"length and chunks":           {head: "Content-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n", body: "2\r\n{}\r\n0\r\n\r\n", want: 400},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			addr := patient
			if c.want == 408 {
				addr = impatient
			}
			if got := exchange(t, addr, c.head, c.body); got != c.want {
				t.Errorf("status %d, want %d", got, c.want)
			}
		})
	}
	if u.calls != 0 {
		t.Errorf("%d attacks reached the upstream", u.calls)
	}
}

// exchange sends a request as written and returns the status of the answer.
func exchange(t *testing.T, addr, head, body string) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if head == "" {
		head = "Content-Type: application/json\r\n"
	}
	if !strings.Contains(head, "Content-Length") && !strings.Contains(head, "Transfer-Encoding") {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	go func() {
		// The server may answer and close before it has read all of it.
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+head+"\r\n"+body)
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// Bodies that are cheap to send and costly to hold do not add up: large ones
// are taken apart a few at a time.
func TestHandler_MemoryStaysBounded(t *testing.T) {
	schema := writeFile(t, "s.json", `{"items":{"type":"string"}}`)
	h, u := provision(t, &Handler{Schema: schema, Limits: Limits{Items: 1 << 20, Values: 1 << 20}}), &upstream{}
	handler := serve(h, u)
	body := "[" + strings.TrimSuffix(strings.Repeat("1,", 100_000), ",") + "]"

	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak uint64
	done := make(chan struct{})
	for range 12 {
		go func() {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, register(body))
			if w.Code != 400 {
				t.Errorf("status %d", w.Code)
			}
			done <- struct{}{}
		}()
	}
	for range 12 {
		<-done
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
	}
	grown := (peak - min(peak, before.HeapInuse)) >> 20
	t.Logf("grew by %d MiB", grown)
	if grown > 500 {
		t.Errorf("12 hostile bodies of 200 KB at once held %d MiB", grown)
	}
}

func TestHandler_AClientThatGoesAwayWhileItWaitsForItsTurn(t *testing.T) {
	for range cap(turns) {
		turns <- struct{}{}
	}
	defer func() {
		for range cap(turns) {
			<-turns
		}
	}()
	h, u := provision(t, &Handler{Schema: registerSchema}), &upstream{}
	r := register(`{"name":"` + strings.Repeat("a", largeBody) + `"}`)
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	w := httptest.NewRecorder()
	serve(h, u).ServeHTTP(w, r.WithContext(ctx))
	if w.Code != 400 || u.calls != 0 {
		t.Errorf("status %d, upstream called %d times", w.Code, u.calls)
	}
}

func TestCaddyfile_ReadsEveryOption(t *testing.T) {
	d := caddyfile.NewTestDispenser(`validate {
		schema {env.DIR}/s.json
		strip_unknown
		fill_defaults
		max_body 64KiB
		read_timeout 5s
		limits {
			depth 10
			values 1000
			members 20
			items 30
			string 40
		}
	}`)
	var h Handler
	if err := h.UnmarshalCaddyfile(d); err != nil {
		t.Fatal(err)
	}
	want := Handler{
		Schema: "{env.DIR}/s.json", StripUnknown: true, FillDefaults: true, MaxBody: 64 << 10,
		ReadTimeout: caddy.Duration(5 * time.Second),
		Limits:      Limits{Depth: 10, Values: 1000, Members: 20, Items: 30, String: 40},
	}
	if h != want {
		t.Errorf("got  %+v\nwant %+v", h, want)
	}
}

func TestCaddyfile_NamesWhatIsWrong(t *testing.T) {
	cases := map[string]string{
		"validate foo":                                       "wrong argument count",
		"validate {\n schema a b\n}":                         "wrong argument count",
		"validate {\n schem a\n}":                            `validate: unknown option "schem"`,
		"validate {\n schema a\n schema b\n}":                "validate: schema is given twice",
		"validate {\n max_body lots\n}":                      `validate: max_body "lots"`,
		"validate {\n max_body 0\n}":                         `validate: max_body "0"`,
		"validate {\n read_timeout -1s\n}":                   `validate: read_timeout "-1s"`,
		"validate {\n strip_unknown yes\n}":                  "wrong argument count",
		"validate {\n limits {\n depth none\n }\n}":          `validate: limits: depth "none"`,
		"validate {\n limits {\n deep 3\n }\n}":              `validate: limits: unknown option "deep"`,
		"validate {\n limits {\n depth 3\n depth 4\n }\n}":   "validate: limits: depth is given twice",
		"validate {\n limits {\n depth 3\n }\n limits {\n}}": "validate: limits is given twice",
	}
	for text, want := range cases {
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want …%s…", text, err, want)
		}
	}
}

func TestProvision_NamesWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		h    Handler
		want string
	}{
		"no schema":       {Handler{}, "validate: schema or openapi is missing"},
		"missing file":    {Handler{Schema: "/no/such.json"}, "/no/such.json"},
		"placeholder":     {Handler{Schema: "{env.NO_SUCH_VARIABLE_HERE}/x.json"}, "{env.NO_SUCH_VARIABLE_HERE}"},
		"bad size":        {Handler{Schema: registerSchema, MaxBody: -1}, "validate: max_body must be positive, got -1"},
		"bad timeout":     {Handler{Schema: registerSchema, ReadTimeout: -1}, "validate: read_timeout must be positive"},
		"bad limit":       {Handler{Schema: registerSchema, Limits: Limits{Items: -2}}, "validate: limits: items must be positive, got -2"},
		"recursion depth": {Handler{Schema: registerSchema, Limits: Limits{Depth: 5000}}, "validate: limits: depth must be at most 1000, got 5000"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if err := tryProvision(t, &c.h); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want …%s…", err, c.want)
			}
		})
	}
}

func TestProvision_ResolvesPlaceholders(t *testing.T) {
	t.Setenv("SCHEMA_DIR", "../../schemas")
	provision(t, &Handler{Schema: "{env.SCHEMA_DIR}/register.json"})
}

package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func provision(t testing.TB, h *Handler) *Handler {
	t.Helper()
	if err := tryProvision(t, h); err != nil {
		t.Fatal(err)
	}
	return h
}

func tryProvision(t testing.TB, h *Handler) error {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	return h.Provision(ctx)
}

var none = caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
	_, err := w.Write([]byte("next"))
	return err
})

// answer has a request fail and the handler answer, as Caddy's error routes do.
func answer(t testing.TB, h *Handler, r *http.Request, prepare func(w http.ResponseWriter, r *http.Request) error) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	server := &caddyhttp.Server{Errors: &caddyhttp.HTTPErrorConfig{}}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, server)
	err := prepare(w, r)
	r = server.Errors.WithError(r, err)
	if err := h.ServeHTTP(w, r, none); err != nil {
		t.Fatal(err)
	}
	return w
}

func get(accept string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	return r
}

func TestHandler_OneShapeForEveryError(t *testing.T) {
	secret := errors.New("password of postgres://u:hunter2@db is wrong")
	details := []gateway.Detail{{Field: "email", Message: "must be an email address"}}
	cases := map[string]struct {
		fail func(w http.ResponseWriter, r *http.Request) error
		want string
	}{
		"ours with words": {func(_ http.ResponseWriter, r *http.Request) error {
			return gateway.Fail(r, 401, "Unauthorized", nil, secret)
		}, `{"type":"about:blank","title":"Unauthorized","status":401,"error":"Unauthorized","code":"unauthorized"}`},
		"ours with an identifier": {func(_ http.ResponseWriter, r *http.Request) error {
			return gateway.Fail(r, 429, "ban_active", nil, secret)
		}, `{"type":"about:blank","title":"Too Many Requests","status":429,"error":"Too many requests","code":"ban_active"}`},
		"with details": {func(_ http.ResponseWriter, r *http.Request) error {
			return gateway.Fail(r, 400, "Validation failed", details, secret)
		}, `{"type":"about:blank","title":"Bad Request","status":400,"error":"Validation failed","code":"validation_failed","details":[{"field":"email","message":"must be an email address"}]}`},
		"Caddy's own": {func(http.ResponseWriter, *http.Request) error {
			return caddyhttp.Error(502, secret)
		}, `{"type":"about:blank","title":"Bad Gateway","status":502,"error":"Bad gateway","code":"bad_gateway"}`},
		"any error": {
			func(http.ResponseWriter, *http.Request) error { return secret },
			`{"type":"about:blank","title":"Internal Server Error","status":500,"error":"Internal server error","code":"internal_server_error"}`,
		},
		"a wrapped one": {func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("outer: %w", caddyhttp.Error(413, secret))
		}, `{"type":"about:blank","title":"Content Too Large","status":413,"error":"Content too large","code":"content_too_large"}`},
		"a status nobody knows": {
			func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(499, secret) },
			`{"type":"about:blank","title":"Client Closed Request","status":499,"error":"Client closed request","code":"client_closed_request"}`,
		},
		"a status that is none": {
			func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(7, secret) },
			`{"type":"about:blank","title":"Internal Server Error","status":500,"error":"Internal server error","code":"internal_server_error"}`,
		},
		"with a request id": {func(_ http.ResponseWriter, r *http.Request) error {
			caddyhttp.SetVar(r.Context(), "request_id", "id-1")
			return caddyhttp.Error(404, secret)
		}, `{"type":"about:blank","title":"Not Found","status":404,"error":"Not found","code":"not_found","request_id":"id-1"}`},
	}
	h := provision(t, new(Handler))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := answer(t, h, get(""), c.fail)
			if w.Body.String() != c.want {
				t.Errorf("got  %s\nwant %s", w.Body, c.want)
			}
			if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type %q", got)
			}
			if got := w.Header().Get("Content-Length"); got != fmt.Sprint(w.Body.Len()) {
				t.Errorf("Content-Length %s of %d", got, w.Body.Len())
			}
		})
	}
}

func TestHandler_KeepsWhatBelongsToTheRefusal(t *testing.T) {
	w := answer(t, provision(t, new(Handler)), get(""), func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("WWW-Authenticate", "Bearer")
		h.Set("Retry-After", "7")
		h.Set("RateLimit", `"login";r=0;t=7`)
		h.Set("Vary", "Origin")
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", "99999")
		h.Set("ETag", `"of-another-body"`)
		return caddyhttp.Error(429, errors.New("no"))
	})
	for name, want := range map[string]string{
		"WWW-Authenticate": "Bearer", "Retry-After": "7", "RateLimit": `"login";r=0;t=7`,
		"Content-Encoding": "", "ETag": "", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := w.Header().Values("Vary"); strings.Join(got, ",") != "Origin,Accept" {
		t.Errorf("Vary %q", got)
	}
}

func TestHandler_NegotiatesTheForm(t *testing.T) {
	cases := map[string]string{
		"":                             "application/problem+json",
		"*/*":                          "application/problem+json",
		"application/*":                "application/problem+json",
		"application/json":             "application/json",
		"application/JSON; q=0.5":      "application/json",
		"application/problem+json":     "application/problem+json",
		"text/plain":                   "text/plain; charset=utf-8",
		"text/*":                       "text/plain; charset=utf-8",
		"text/html":                    "text/html; charset=utf-8",
		"text/html;q=0.1, text/plain":  "text/plain; charset=utf-8",
		"*/*;q=0.1, text/html;q=0.2":   "text/html; charset=utf-8",
		"text/*;q=0.9, text/html;q=0":  "text/plain; charset=utf-8",
		"image/png":                    "application/problem+json",
		"application/json;q=nonsense":  "application/problem+json",
		"application/json;q=2":         "application/problem+json",
		"*/*;q=0":                      "application/problem+json",
		",;/,text/html":                "text/html; charset=utf-8",
		strings.Repeat("a/b,", 100000): "application/problem+json",
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": "text/html; charset=utf-8",
	}
	h := provision(t, new(Handler))
	for accept, want := range cases {
		w := answer(t, h, get(accept), func(_ http.ResponseWriter, r *http.Request) error {
			return gateway.Fail(r, 400, "Validation failed", []gateway.Detail{{Field: "<b>", Message: "is <script>"}}, errors.New("x"))
		})
		if got := w.Header().Get("Content-Type"); got != want {
			t.Errorf("Accept %.60q: %q, want %q", accept, got, want)
		}
		if strings.Contains(w.Body.String(), "<script>") && want != "text/plain; charset=utf-8" {
			t.Errorf("Accept %.60q: markup went through unescaped: %s", accept, w.Body)
		}
	}
}

func TestHandler_HeadAndBodilessStatuses(t *testing.T) {
	h := provision(t, new(Handler))
	r := get("")
	r.Method = "HEAD"
	w := answer(t, h, r, func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(404, nil) })
	if w.Code != 404 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: %d, %d bytes, Content-Length %q", w.Code, w.Body.Len(), w.Header().Get("Content-Length"))
	}
	w = answer(t, h, get(""), func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(304, nil) })
	if w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("Content-Type") != "" {
		t.Errorf("304: %d, %q, %v", w.Code, w.Body, w.Header())
	}
}

func TestHandler_LogsWhatTheClientIsNotTold(t *testing.T) {
	h := provision(t, new(Handler))
	core, logs := observer.New(zap.InfoLevel)
	h.logger = zap.New(core)
	r := httptest.NewRequest("GET", "/a?access_token=hunter2", nil)
	answer(t, h, r, func(_ http.ResponseWriter, r *http.Request) error {
		caddyhttp.SetVar(r.Context(), "request_id", "id-1")
		return caddyhttp.Error(502, errors.New("dial tcp 127.0.0.1:8081: connection refused"))
	})
	answer(t, h, get(""), func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(404, errors.New("no")) })
	if logs.Len() != 1 {
		t.Fatalf("%d lines, want one: a 404 is no fault", logs.Len())
	}
	fields := logs.All()[0].ContextMap()
	if fields["error"] != "dial tcp 127.0.0.1:8081: connection refused" || fields["request_id"] != "id-1" ||
		fields["status"] != int64(502) || fields["path"] != "/a" {
		t.Errorf("fields %v", fields)
	}
	if strings.Contains(fmt.Sprint(fields), "hunter2") {
		t.Errorf("a secret of the query is in the log: %v", fields)
	}
}

func TestHandler_WithoutAnErrorPassesOn(t *testing.T) {
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(get(""), caddy.NewReplacer(), w, &caddyhttp.Server{})
	if err := provision(t, new(Handler)).ServeHTTP(w, r, none); err != nil || w.Body.String() != "next" {
		t.Errorf("%v, %q", err, w.Body)
	}
}

func TestHandler_Overrides(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(page, []byte(`<p>{{.Status}} {{.Title}}: {{.Detail}} {{range .Details}}{{.Field}}{{end}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h := provision(t, &Handler{Status: map[string]*Override{
		"404": {Title: "Nothing here", HTML: page},
		"5xx": {Type: "https://example.com/problems/down", Detail: "We are <working> on it."},
		"503": {Detail: "Back soon."},
	}})
	fail := func(status int) func(http.ResponseWriter, *http.Request) error {
		return func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(status, nil) }
	}
	if got, want := answer(t, h, get("text/html"), fail(404)).Body.String(), "<p>404 Nothing here:  "; got != want {
		t.Errorf("page %q, want %q", got, want)
	}
	var p Problem
	if err := json.Unmarshal(answer(t, h, get(""), fail(502)).Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if p.Type != "https://example.com/problems/down" || p.Detail != "We are <working> on it." || p.Title != "Bad Gateway" || p.Code != "bad_gateway" {
		t.Errorf("502: %+v", p)
	}
	if got := answer(t, h, get("text/html"), fail(502)).Body.String(); !strings.Contains(got, "We are &lt;working&gt; on it.") {
		t.Errorf("502 page: %s", got)
	}
	if got := answer(t, h, get("text/plain"), fail(503)).Body.String(); got != "503 Service unavailable\nBack soon.\n" {
		t.Errorf("503: %q", got)
	}
}

func TestProvision_NamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cases := map[string]struct {
		h    Handler
		want string
	}{
		"missing file":  {Handler{HTML: "/no/such.html"}, `problem: html "/no/such.html"`},
		"bad template":  {Handler{HTML: write("a", "{{if}}")}, "missing value for if"},
		"unknown field": {Handler{HTML: write("b", "{{.Nope}}")}, "Nope"},
		"field of item": {Handler{Status: map[string]*Override{"404": {HTML: write("c", "{{range .Details}}{{.Nope}}{{end}}")}}}, "status 404"},
		"bad status":    {Handler{Status: map[string]*Override{"40x": {}}}, `problem: status "40x"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if err := tryProvision(t, &c.h); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want …%s…", err, c.want)
			}
		})
	}
}

func TestCaddyfile(t *testing.T) {
	var h Handler
	err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`problem {
		html a.html
		status 404 {
			type https://e.example/404
			title "Not here"
			detail "Look elsewhere."
			html b.html
		}
		status 5xx {
			detail Sorry.
		}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	if h.HTML != "a.html" || *h.Status["404"] != (Override{"https://e.example/404", "Not here", "Look elsewhere.", "b.html"}) || h.Status["5xx"].Detail != "Sorry." {
		t.Errorf("%+v", h)
	}
	for text, want := range map[string]string{
		"problem x":                                                            "wrong argument count",
		"problem {\n htm a\n}":                                                 `problem: unknown option "htm"`,
		"problem {\n html a\n html b\n}":                                       "problem: html is given twice",
		"problem {\n status 99 {\n title a\n }\n}":                             `problem: status "99"`,
		"problem {\n status 404\n}":                                            "problem: status 404 says nothing",
		"problem {\n status 404 {\n titel a\n }\n}":                            `problem: status 404: unknown option "titel"`,
		"problem {\n status 404 {\n title a\n title b\n}}":                     "problem: status 404: title is given twice",
		"problem {\n status 404 {\n title a\n}\n status 404 {\n title b\n}\n}": "problem: status 404 is given twice",
	} {
		if err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want …%s…", text, err, want)
		}
	}
}

func BenchmarkHandler_Refusal(b *testing.B) {
	h := provision(b, new(Handler))
	server := &caddyhttp.Server{Errors: &caddyhttp.HTTPErrorConfig{}}
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(get("*/*"), caddy.NewReplacer(), w, server)
	caddyhttp.SetVar(r.Context(), "request_id", "0199f3c2-0000-7000-8000-000000000000")
	r = server.Errors.WithError(r, gateway.Fail(r, 429, "Too many requests", nil, errors.New("x")))
	b.ReportAllocs()
	for b.Loop() {
		w.Body.Reset()
		if err := h.ServeHTTP(w, r, none); err != nil {
			b.Fatal(err)
		}
	}
}

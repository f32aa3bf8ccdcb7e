package cache

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// site is a server whose handlers are an outer one, the cache and an origin.
type site struct {
	*httptest.Server
	t     testing.TB
	h     *Handler
	app   *gateway.App
	asked atomic.Int64 // requests that reached the origin

	// outer runs before the cache, as jwt_auth or cors would.
	outer func(w http.ResponseWriter, r *http.Request)
}

type originFunc func(w http.ResponseWriter, r *http.Request) error

var provisioning sync.Mutex

// provision makes a handler from a Caddyfile block and an app from JSON.
func provision(t testing.TB, block, app string) (*Handler, *gateway.App, error) {
	t.Helper()
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("cache " + block)); err != nil {
		return nil, nil, err
	}
	if h.Name == "" {
		h.Name = strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())
	}
	cfg := &caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}}
	if app != "" {
		cfg.AppsRaw = caddy.ModuleMap{"fairway": json.RawMessage(app)}
	}
	provisioning.Lock() // Caddy provisions one config at a time
	base, err := caddy.ProvisionContext(cfg)
	provisioning.Unlock()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := caddy.NewContext(base)
	t.Cleanup(cancel)
	a, err := gateway.From(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := h.Provision(ctx); err != nil {
		_ = h.Cleanup()
		return nil, nil, err
	}
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return h, a, nil
}

func newSite(t testing.TB, block string, origin originFunc) *site {
	t.Helper()
	return newSiteWith(t, block, "", origin)
}

func newSiteWith(t testing.TB, block, app string, origin originFunc) *site {
	t.Helper()
	h, a, err := provision(t, block, app)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, h: h, app: a}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		s.asked.Add(1)
		return origin(w, r)
	})
	server := new(caddyhttp.Server)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, server)
		if s.outer != nil {
			s.outer(w, r)
		}
		if err := h.ServeHTTP(w, r, next); err != nil {
			status := http.StatusInternalServerError
			if he, ok := err.(caddyhttp.HandlerError); ok {
				status = he.StatusCode
			}
			w.WriteHeader(status)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

type answer struct {
	*http.Response
	text string
}

// do sends a request; fields are "Name: value".
func (s *site) do(method, path string, fields ...string) answer {
	s.t.Helper()
	a, err := s.try(method, path, fields...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// try is do for requests that may get no response at all.
func (s *site) try(method, path string, fields ...string) (answer, error) {
	s.t.Helper()
	none := answer{Response: &http.Response{Header: http.Header{}}}
	r, err := http.NewRequest(method, s.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Add(name, value)
	}
	res, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return none, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		body = append(body, "<"+err.Error()+">"...)
	}
	return answer{res, string(body)}, nil
}

func (s *site) get(path string, fields ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, fields...)
}

// counted answers with the number of the request, so that a test sees whether it
// got a stored response.
func (s *site) counted(w http.ResponseWriter) error {
	_, err := fmt.Fprintf(w, "response %d", s.asked.Load())
	return err
}

// cacheable returns a site whose every response has the fields.
func cacheable(t testing.TB, block string, fields ...string) *site {
	t.Helper()
	var s *site
	s = newSite(t, block, func(w http.ResponseWriter, r *http.Request) error {
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
		}
		return s.counted(w)
	})
	return s
}

func (s *site) wantAsked(n int64) {
	s.t.Helper()
	if got := s.asked.Load(); got != n {
		s.t.Errorf("the origin was asked %d times, want %d", got, n)
	}
}

func wantText(t testing.TB, a answer, want string) {
	t.Helper()
	if a.text != want {
		t.Errorf("body = %q, want %q (status %d, Cache-Status %q)", a.text, want, a.StatusCode, a.Header.Get("Cache-Status"))
	}
}

func TestHandler_AnswersFromMemory(t *testing.T) {
	s := cacheable(t, "", "Cache-Control: max-age=60", "X-Inner: 1")
	first, second, head := s.get("/a?x=1"), s.get("/a?x=1"), s.do("HEAD", "/a?x=1")
	s.wantAsked(1)
	wantText(t, second, first.text)
	if got, want := first.Header.Get("Cache-Status"), "Fairway; fwd=uri-miss; stored"; got != want {
		t.Errorf("Cache-Status of the miss = %q, want %q", got, want)
	}
	if got := second.Header.Get("Cache-Status"); !strings.HasPrefix(got, "Fairway; hit; ttl=") {
		t.Errorf("Cache-Status of the hit = %q", got)
	}
	if got := second.Header.Get("Age"); got != "0" {
		t.Errorf("Age = %q, want 0", got)
	}
	if second.Header.Get("X-Inner") != "1" {
		t.Errorf("the stored header is missing: %v", second.Header)
	}
	if head.text != "" || head.ContentLength != int64(len(first.text)) {
		t.Errorf("HEAD: body %q, length %d; want none of %d", head.text, head.ContentLength, len(first.text))
	}
	if a := s.get("/a?x=2"); a.text == first.text {
		t.Error("another query got the same response")
	}
}

func TestHandler_NeverStores(t *testing.T) {
	for _, fields := range [][]string{
		{"Cache-Control: no-store, max-age=60"},
		{"Cache-Control: private, max-age=60"},
		{"Cache-Control: max-age=60, foo=\"unterminated"},
		{"Cache-Control: max-age=60", "Set-Cookie: id=1"},
		{"Cache-Control: max-age=60", "Vary: *"},
		{"Cache-Control: max-age=60", "Content-Type: text/event-stream"},
		{"Cache-Control: max-age=0"},
		{"Cache-Control: max-age=60", "Age: 61"},
		{"Cache-Control: max-age=60", "Fairway-Cache-Control: no-store"},
		{"Cache-Control: max-age=60", "CDN-Cache-Control: private"},
		{"Expires: 0"},
		{},
	} {
		t.Run(strings.Join(fields, "|"), func(t *testing.T) {
			s := cacheable(t, "", fields...)
			s.get("/")
			s.get("/")
			s.wantAsked(2)
		})
	}
}

// user is an outer handler that identifies requests by a header, as jwt_auth
// does by a token.
func user(_ http.ResponseWriter, r *http.Request) {
	if name := r.Header.Get("X-User"); name != "" {
		caddyhttp.SetVar(r.Context(), gateway.VarIdentity, &gateway.Identity{Issuer: "iss", Subject: name, QueryParam: "token"})
	}
}

func TestHandler_KeepsUsersApart(t *testing.T) {
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "private, max-age=60")
		w.Header().Set("Fairway-Cache-Control", "public, max-age=60")
		_, err := io.WriteString(w, "for "+r.Header.Get("X-User"))
		return err
	})
	s.outer = user
	for range 2 {
		for _, name := range []string{"ann", "bob", "root"} {
			a := s.get("/me?token=of-"+name, "X-User: "+name)
			wantText(t, a, "for "+name)
			if got := a.Header.Get("Fairway-Cache-Control"); got != "" {
				t.Errorf("Fairway-Cache-Control was forwarded: %q", got)
			}
			if got := a.Header.Get("Cache-Control"); got != "private, max-age=60" {
				t.Errorf("Cache-Control = %q", got)
			}
		}
	}
	s.wantAsked(3)
	wantText(t, s.get("/me"), "for ")
	s.wantAsked(4)
	// the same user with a new token is the same user
	wantText(t, s.get("/me?token=another", "X-User: ann"), "for ann")
	s.wantAsked(4)
	for e := range s.h.store.memory.otter.Values() {
		if strings.Contains(e.key, "of-ann") {
			t.Errorf("the token is part of the key %q", e.key)
		}
	}
}

func TestHandler_CredentialsNeedConsent(t *testing.T) {
	for _, tc := range []struct {
		control, field string
		want           int64
	}{
		{"max-age=60", "Authorization: Bearer a", 2},
		{"max-age=60", "X-User: ann", 2},
		{"max-age=60, public", "Authorization: Bearer a", 1},
		{"s-maxage=60", "Authorization: Bearer a", 1},
		{"max-age=60, must-revalidate", "Authorization: Bearer a", 1},
		{"max-age=60", "Cookie: session=1", 1},
	} {
		t.Run(tc.control+" "+tc.field, func(t *testing.T) {
			s := cacheable(t, "", "Cache-Control: "+tc.control)
			s.outer = user
			s.get("/", tc.field)
			s.get("/", tc.field)
			s.wantAsked(tc.want)
		})
	}
}

func TestHandler_AnonymousResponseIsNotForUsers(t *testing.T) {
	s := cacheable(t, "", "Cache-Control: max-age=60")
	s.get("/")
	if a := s.get("/", "Authorization: Bearer a"); a.text != "response 2" {
		t.Errorf("a user got %q, which was stored for nobody in particular", a.text)
	}
}

func TestHandler_GuessesOnlyForAnonymousRequests(t *testing.T) {
	for _, block := range []string{"", "{\n ttl 1m\n}"} {
		s := cacheable(t, block, "Last-Modified: Mon, 02 Jan 2006 15:04:05 GMT")
		for _, field := range []string{"Cookie: a=1", "Cookie: a=2", "Authorization: x"} {
			s.get("/", field)
			s.get("/", field)
		}
		s.wantAsked(6)
		s.get("/")
		s.get("/")
		s.wantAsked(7)
		s.get("/", "Cookie: a=1")
		s.wantAsked(8)
	}
}

func TestHandler_TTL(t *testing.T) {
	s := cacheable(t, "{\n ttl 1m\n}")
	s.get("/")
	s.get("/")
	s.wantAsked(1)
}

func TestHandler_OuterHeadersAreNotStored(t *testing.T) {
	s := cacheable(t, "", "Cache-Control: max-age=60", "Vary: Accept", "Content-Type: text/x")
	var n atomic.Int64
	s.outer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("RateLimit", fmt.Sprint(n.Add(1)))
		w.Header().Set("Vary", "Origin")
		w.Header().Set("Content-Type", "text/outer")
	}
	for i := range 3 {
		a := s.get("/")
		if got, want := a.Header["Ratelimit"], fmt.Sprint(i+1); len(got) != 1 || got[0] != want {
			t.Errorf("RateLimit = %v, want %v", got, want)
		}
		if got := strings.Join(a.Header["Vary"], ", "); got != "Origin, Accept" {
			t.Errorf("Vary = %q", got)
		}
		if got := a.Header["Content-Type"]; len(got) != 1 || got[0] != "text/x" {
			t.Errorf("Content-Type = %q", got)
		}
	}
	s.wantAsked(1)
}

func TestHandler_OuterHandlersCannotAlterWhatIsStored(t *testing.T) {
	h, _, err := provision(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w := httptest.NewRecorder()
		r := caddyhttp.PrepareRequest(httptest.NewRequest("GET", "/", nil), caddy.NewReplacer(), w, new(caddyhttp.Server))
		err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("X-Inner", "true")
			_, err := w.Write([]byte("x"))
			return err
		}))
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Header()["X-Inner"]; got[0] != "true" {
			t.Errorf("X-Inner = %q", got)
		}
		w.Header()["X-Inner"][0] = "altered" // as `header` with a replacement does
	}
}

func TestHandler_Varies(t *testing.T) {
	var s *site
	s = newSite(t, "{\n vary_limit 3\n}", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language")
		_, err := io.WriteString(w, r.Header.Get("Accept-Language"))
		return err
	})
	wantText(t, s.get("/", "Accept-Language: en, de"), "en, de")
	wantText(t, s.get("/", "Accept-Language: de,  EN"), "en, de")
	s.wantAsked(1)
	for _, lang := range []string{"fr", "it", "es", ""} {
		if lang == "" {
			wantText(t, s.get("/"), "")
		} else {
			wantText(t, s.get("/", "Accept-Language: "+lang), lang)
		}
	}
	s.wantAsked(5)
	if a := s.get("/", "Accept-Language: en, de"); !strings.Contains(a.Header.Get("Cache-Status"), "vary-miss") {
		t.Errorf("the oldest of more variants than vary_limit is still there: %q", a.Header.Get("Cache-Status"))
	}
}

func TestHandler_UnsafeMethodsInvalidate(t *testing.T) {
	status := http.StatusOK
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		switch {
		case r.Method == "GET":
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Cache-Groups", `"users"`)
		case r.URL.Path == "/elsewhere":
			w.Header().Set("Location", "/a")
		case r.URL.Path == "/far":
			w.Header().Set("Location", "http://other.example/a")
		case r.URL.Path == "/group":
			w.Header().Set("Cache-Group-Invalidation", `"users"`)
		}
		w.WriteHeader(status)
		return s.counted(w)
	})
	for _, tc := range []struct {
		method, path string
		status       int
		forgotten    bool
	}{
		{"POST", "/a", 200, true},
		{"PATCH", "/a", 204, true},
		{"M-SEARCH", "/a", 303, true},
		{"DELETE", "/a", 500, false},
		{"PUT", "/a", 404, false},
		{"OPTIONS", "/a", 200, false},
		{"POST", "/elsewhere", 201, true},
		{"POST", "/far", 201, false},
		{"POST", "/group", 200, true},
		{"POST", "/other", 200, false},
	} {
		status = http.StatusOK
		s.get("/a")
		before := s.asked.Load()
		status = tc.status
		s.do(tc.method, tc.path)
		status = http.StatusOK
		s.get("/a")
		if got := s.asked.Load() == before+2; got != tc.forgotten {
			t.Errorf("%s %s with status %d: forgotten = %v, want %v", tc.method, tc.path, tc.status, got, tc.forgotten)
		}
	}
}

func TestHandler_ClientGetsFirstByteAtOnce(t *testing.T) {
	release := make(chan struct{})
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-release
		_, err := io.WriteString(w, " second")
		return err
	})
	res, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body := bufio.NewReader(res.Body)
	start := make([]byte, 5)
	if _, err := io.ReadFull(body, start); err != nil || string(start) != "first" {
		t.Fatalf("read %q, %v before the origin had finished", start, err)
	}
	close(release)
	rest, err := io.ReadAll(body)
	if err != nil || string(rest) != " second" {
		t.Errorf("rest = %q, %v", rest, err)
	}
	wantText(t, s.get("/"), "first second")
	s.wantAsked(1)
}

func TestHandler_BrokenBodiesAreNotStored(t *testing.T) {
	for name, broken := range map[string]func(w http.ResponseWriter) error{
		"panic": func(w http.ResponseWriter) error { panic(http.ErrAbortHandler) },
		"error": func(w http.ResponseWriter) error { return io.ErrUnexpectedEOF },
		"short": func(w http.ResponseWriter) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var s *site
			s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
				w.Header().Set("Cache-Control", "max-age=60")
				if s.asked.Load() == 1 {
					w.Header().Set("Content-Length", "10000")
					_, _ = io.WriteString(w, "half")
					_ = http.NewResponseController(w).Flush()
					return broken(w)
				}
				return s.counted(w)
			})
			if a := s.get("/"); !strings.Contains(a.text, "<") {
				t.Errorf("the client was not told that the body is incomplete: %q", a.text)
			}
			wantText(t, s.get("/"), "response 2")
			wantText(t, s.get("/"), "response 2")
		})
	}
}

func TestHandler_TooLargeBodiesAreNotStored(t *testing.T) {
	for _, announced := range []bool{true, false} {
		body := strings.Repeat("x", 300_000)
		var s *site
		s = newSite(t, "{\n max_body 100KiB\n}", func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "max-age=60")
			if announced {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			}
			_, err := io.Copy(w, strings.NewReader(body))
			return err
		})
		for range 2 {
			if a := s.get("/"); a.text != body {
				t.Errorf("got %d bytes, want %d", len(a.text), len(body))
			}
		}
		s.wantAsked(2)
	}
}

func TestHandler_FillOutlivesItsClient(t *testing.T) {
	half, done := make(chan struct{}), make(chan struct{})
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		defer close(done)
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-half
		if err := r.Context().Err(); err != nil {
			return err
		}
		_, err := io.WriteString(w, " second")
		return err
	})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", s.Listener.Addr())
	if _, err := conn.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	time.Sleep(50 * time.Millisecond) // for the server to notice
	close(half)
	<-done
	for end := time.Now().Add(5 * time.Second); s.h.store.memory.otter.EstimatedSize() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	wantText(t, s.get("/"), "first second")
	s.wantAsked(1)
}

func TestHandler_ServesStaleThroughFallback(t *testing.T) {
	fail := false
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		if fail { // as resilience does with `fallback stale`
			serve, ok := caddyhttp.GetVar(r.Context(), gateway.VarStale).(gateway.StaleFunc)
			if !ok || !serve(w, r) {
				return caddyhttp.Error(503, fmt.Errorf("no stale response"))
			}
			return nil
		}
		w.Header().Set("Cache-Control", "max-age=1")
		w.Header().Set("Etag", `"1"`)
		return s.counted(w)
	})
	s.get("/")
	time.Sleep(1100 * time.Millisecond)
	fail = true
	a := s.get("/")
	wantText(t, a, "response 1")
	if got := a.Header.Get("Cache-Status"); !strings.Contains(got, "hit; fwd=stale") {
		t.Errorf("Cache-Status = %q", got)
	}
	if a := s.get("/never-stored"); a.StatusCode != 503 {
		t.Errorf("without a stored response: status %d, want 503", a.StatusCode)
	}
}

func TestHandler_OnlyIfCached(t *testing.T) {
	s := cacheable(t, "", "Cache-Control: max-age=60")
	if a := s.get("/", "Cache-Control: only-if-cached"); a.StatusCode != 504 {
		t.Errorf("status = %d, want 504", a.StatusCode)
	}
	s.wantAsked(0)
	s.get("/")
	wantText(t, s.get("/", "Cache-Control: only-if-cached"), "response 1")
}

func TestHandler_ReloadKeepsWhatIsStored(t *testing.T) {
	s := cacheable(t, "shared-over-reloads", "Cache-Control: max-age=60")
	s.get("/")
	if _, _, err := provision(t, "shared-over-reloads {\n max_body 2GiB\n}", ""); err == nil {
		t.Fatal("a config with max_body above max_size was accepted")
	}
	h, _, err := provision(t, "shared-over-reloads {\n max_size 64MiB\n}", "")
	if err != nil {
		t.Fatal(err)
	}
	if h.store != s.h.store {
		t.Fatal("the new config has another store")
	}
	if got := s.h.store.memory.otter.GetMaximum(); got != defaultMaxSize {
		t.Errorf("a config that has not served yet changed the size to %d", got)
	}
	s.h.started = sync.Once{}
	wantText(t, s.get("/"), "response 1")
}

func TestHandler_RefusesDisagreementOnSize(t *testing.T) {
	ctxOf := func() (caddy.Context, error) {
		return caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
	}
	ctx, err := ctxOf()
	if err != nil {
		t.Fatal(err)
	}
	a, b := &Handler{Name: t.Name()}, &Handler{Name: t.Name(), MaxSize: 1 << 30}
	if err := a.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	defer a.Cleanup()
	err = b.Provision(ctx)
	defer b.Cleanup()
	if err == nil || !strings.Contains(err.Error(), "max_size") {
		t.Errorf("err = %v, want one about max_size", err)
	}
}

func TestPart_Purges(t *testing.T) {
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Surrogate-Key", "one two")
		return s.counted(w)
	})
	p := newPart(s.h, s.app)
	for _, tc := range []struct {
		args string
		hits bool
	}{
		{`{"url":"` + s.URL + `/a/b?x=1"}`, true},
		{`{"url":"` + s.URL + `/a/b"}`, false},
		{`{"prefix":"` + s.URL + `/a/"}`, true},
		{`{"prefix":"` + s.URL + `/b"}`, false},
		{`{"tag":"two"}`, true},
		{`{"tag":"three"}`, false},
		{`{"tag":"two","host":"other.example"}`, false},
		{`{"all":true}`, true},
	} {
		s.get("/a/b?x=1")
		before := s.asked.Load()
		if _, err := p.Act(context.Background(), "purge", json.RawMessage(tc.args)); err != nil {
			t.Fatalf("purge %s: %v", tc.args, err)
		}
		s.get("/a/b?x=1")
		if got := s.asked.Load() > before; got != tc.hits {
			t.Errorf("purge %s: gone = %v, want %v", tc.args, got, tc.hits)
		}
	}
	for args, want := range map[string]string{
		`{}`: "exactly one", `{"all":true,"tag":"x"}`: "got 2", `{"url":"/relative"}`: `"/relative"`, `[]`: "array",
		`{"nonsense":"1"}`: `"nonsense"`, `{"tag":""}`: "tag is empty", `{"all":true,"host":"x"}`: "host",
	} {
		if _, err := p.Act(context.Background(), "purge", json.RawMessage(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("purge %s: error %v, want one with %q", args, err, want)
		}
	}
}

// An error has the header of those who gave it: Retry-After, WWW-Authenticate.
func TestHandler_ErrorKeepsItsHeader(t *testing.T) {
	s := newSite(t, "", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Retry-After", "7")
		return caddyhttp.Error(http.StatusServiceUnavailable, io.ErrUnexpectedEOF)
	})
	resp, err := http.Get(s.URL + "/down")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Retry-After"); resp.StatusCode != http.StatusServiceUnavailable || got != "7" {
		t.Errorf("status %d, Retry-After %q, want 503 and 7", resp.StatusCode, got)
	}
}

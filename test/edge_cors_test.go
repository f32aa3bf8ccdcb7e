package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

const corsConfig = `
{
	admin {$FAIRWAY_ADMIN}
}
{$FAIRWAY_LISTEN} {
	cors {
		origins https://a.example https://b.example
		credentials
	}
	route {
		cache
		encode {
			zstd
			br
			gzip 6
			minimum_length 1024
		}
		reverse_proxy {$ORIGIN}
	}
	handle_errors {
		problem
	}
}
`

// wantCORS checks who may read an answer: one origin or, if it is empty, none.
func wantCORS(t *testing.T, a answer, origin string) {
	t.Helper()
	var allowed, credentials []string
	if origin != "" {
		allowed, credentials = []string{origin}, []string{"true"}
	}
	if got := a.header.Values("Access-Control-Allow-Origin"); !slices.Equal(got, allowed) {
		t.Errorf("Access-Control-Allow-Origin: %q, want %q; %s", got, allowed, a)
	}
	if got := a.header.Values("Access-Control-Allow-Credentials"); !slices.Equal(got, credentials) {
		t.Errorf("Access-Control-Allow-Credentials: %q, want %q; %s", got, credentials, a)
	}
	if n := strings.Count(strings.Join(a.header.Values("Vary"), ","), "Origin"); n != 1 {
		t.Errorf("Vary: %q, want Origin in it once; %s", a.header.Values("Vary"), a)
	}
}

// One stored response serves every origin: who may read it is said anew each
// time, and caches after this one are told that it depends on the origin.
func TestCORS_WithTheCache(t *testing.T) {
	var asked atomic.Int32
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "public, max-age=600")
		w.Header().Set("Access-Control-Allow-Origin", "https://upstream.example")
		fmt.Fprint(w, "ok")
	}))
	defer upstream.Close()
	g := startGateway(t, corsConfig, "ORIGIN="+strings.TrimPrefix(upstream.URL, "http://"))
	page := get(g.url + "/page")
	for range 2 {
		wantCORS(t, page.with("Origin", "https://a.example").send(t).want(t, http.StatusOK), "https://a.example")
		wantCORS(t, page.with("Origin", "https://b.example").send(t).want(t, http.StatusOK), "https://b.example")
		wantCORS(t, page.with("Origin", "https://evil.example").send(t).want(t, http.StatusOK), "")
		wantCORS(t, page.send(t).want(t, http.StatusOK), "")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the upstream was asked %d times, want once", n)
	}
}

// A browser sends preflights without credentials: they need no token, count for
// no limit, and say nothing to a page that is not named.
func TestCORS_PreflightsComeBeforeTokensAndLimits(t *testing.T) {
	g, u := startExample(t)
	awaitKeys(t, g)
	ada := signUp(t, "http://"+u.addr, "ada")
	const origin = "http://localhost:3000"
	preflight := func(path, origin string) answer {
		t.Helper()
		return request{method: http.MethodOptions, url: g.url + path}.
			with("Origin", origin).with("Access-Control-Request-Method", "POST").
			with("Access-Control-Request-Headers", "authorization,content-type").send(t)
	}
	for range 8 { // the limit there is 5
		a := preflight("/api/auth/login", origin).want(t, http.StatusNoContent)
		if got := a.header.Get("Access-Control-Allow-Origin"); got != origin || a.header.Get("RateLimit") != "" {
			t.Errorf("Access-Control-Allow-Origin %q, RateLimit %q", got, a.header.Get("RateLimit"))
		}
	}
	preflight("/api/users/me", origin).want(t, http.StatusNoContent)
	evil := preflight("/api/users/me", "https://evil.example")
	evil.wantProblem(t, http.StatusForbidden, "Origin not allowed")
	if got := evil.header.Values("Access-Control-Allow-Origin"); got != nil {
		t.Errorf("another page is told that %q may read", got)
	}
	login := fmt.Sprintf(`{"email":%q,"password":%q}`, ada.email, password)
	a := post(g.url+"/api/auth/login", login).with("Origin", origin).send(t).want(t, http.StatusOK)
	if got := a.header.Get("Access-Control-Allow-Origin"); got != origin {
		t.Errorf("the login after them says %q, want %q", got, origin)
	}
	// A refusal can be read, too, or the page could not tell why it got nothing.
	a = get(g.url+"/api/users/me").with("Origin", origin).send(t).want(t, http.StatusUnauthorized)
	if got := a.header.Values("Access-Control-Allow-Origin"); !slices.Equal(got, []string{origin}) {
		t.Errorf("a 401 says %q, want %q", got, origin)
	}
}

// With encode inside the cache each encoding is stored once, under an ETag of
// its own, and what is compressed already is left alone.
func TestCompression_InsideTheCache(t *testing.T) {
	var asked atomic.Int32
	body := "[" + strings.Repeat(`{"id":1,"name":"Ada Lovelace"},`, 100) + "{}]"
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "public, max-age=600")
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		w.Header().Set("ETag", `"v1"`)
		if r.URL.Path == "/short" {
			fmt.Fprint(w, body[:1000])
			return
		}
		fmt.Fprint(w, body)
	}))
	defer upstream.Close()
	g := startGateway(t, corsConfig, "ORIGIN="+strings.TrimPrefix(upstream.URL, "http://"))
	for _, encoding := range []string{"zstd", "br", "gzip"} {
		before := asked.Load()
		page := get(g.url+"/long?type=application/json").with("Accept-Encoding", encoding)
		for _, a := range []answer{page.send(t), page.send(t).wantHeader(t, "Cache-Status", "; hit")} {
			if a.header.Get("Content-Encoding") != encoding || a.header.Get("ETag") != `"v1-`+encoding+`"` || len(a.body) > len(body)/5 {
				t.Errorf("asked for %s, got %q, ETag %s, %d bytes; %s", encoding, a.header.Get("Content-Encoding"), a.header.Get("ETag"), len(a.body), a)
			}
			if vary := strings.Join(a.header.Values("Vary"), ","); strings.Count(vary, "Accept-Encoding") != 1 {
				t.Errorf("%s: Vary %q, want Accept-Encoding once", encoding, vary)
			}
		}
		head := page
		head.method = http.MethodHead
		a := head.send(t).want(t, http.StatusOK)
		if a.header.Get("Content-Encoding") != encoding || a.header.Get("ETag") != `"v1-`+encoding+`"` || a.body != "" {
			t.Errorf("HEAD differs from GET for %s: %s, %v", encoding, a, a.header)
		}
		page.with("If-None-Match", `"v1-`+encoding+`"`).send(t).want(t, http.StatusNotModified)
		if n := asked.Load() - before; n > 1 {
			t.Errorf("%s: the upstream was asked %d times, want once", encoding, n)
		}
	}
	for _, path := range []string{
		"/short?type=application/json", "/long?type=image/jpeg", "/long?type=image/webp", "/long?type=video/mp4", "/long?type=audio/mpeg",
		"/long?type=application/zip", "/long?type=application/gzip", "/long?type=application/zstd", "/long?type=font/woff2",
	} {
		a := get(g.url+path).with("Accept-Encoding", "br, zstd, gzip").send(t).want(t, http.StatusOK)
		if got := a.header.Get("Content-Encoding"); got != "" || a.header.Get("ETag") != `"v1"` {
			t.Errorf("%s is compressed: %q, ETag %s", path, got, a.header.Get("ETag"))
		}
	}
}

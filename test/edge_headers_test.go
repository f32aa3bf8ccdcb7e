package test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// securityHeaders are on every answer of Caddyfile.example.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'",
	"Permissions-Policy":      "camera=()",
	"Referrer-Policy":         "no-referrer",
	"X-Content-Type-Options":  "nosniff",
	"X-Frame-Options":         "DENY",
}

// wantSecurityHeaders checks that each header is there, once, and that nothing
// says who made the programs.
func wantSecurityHeaders(t *testing.T, a answer) {
	t.Helper()
	for name, value := range securityHeaders {
		if got := a.header.Values(name); len(got) != 1 || !strings.Contains(got[0], value) {
			t.Errorf("%s: %q, want one with %q; %s", name, got, value, a)
		}
	}
	for _, name := range []string{"Server", "Via", "X-Powered-By", "Strict-Transport-Security"} {
		if got := a.header.Values(name); len(got) > 0 {
			t.Errorf("%s: %q over plain http, want none; %s", name, got, a)
		}
	}
}

// Whoever answers, Caddy, a module of ours, the cache or the upstream: browsers
// are told the same, once. A stored response holds none of it: after a reload
// with another policy a hit shows the new one.
func TestHeaders_SecurityOnEveryAnswer(t *testing.T) {
	g, u := startExample(t)
	awaitKeys(t, g)
	ada := signUp(t, "http://"+u.addr, "ada")
	me := get(g.url + "/api/users/me")
	preflight := request{method: http.MethodOptions, url: me.url}.with("Access-Control-Request-Method", "GET")
	badLogin := post(g.url+"/api/auth/login", `{"email":7}`)

	wantSecurityHeaders(t, get(g.url+"/health").send(t).want(t, http.StatusOK))
	wantSecurityHeaders(t, me.as(ada.token).send(t).want(t, http.StatusOK))
	wantSecurityHeaders(t, me.as(ada.token).send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit"))
	wantSecurityHeaders(t, me.send(t).want(t, http.StatusUnauthorized))
	wantSecurityHeaders(t, get(g.url+"/lost").send(t).want(t, http.StatusNotFound))
	wantSecurityHeaders(t, preflight.with("Origin", "http://localhost:3000").send(t).want(t, http.StatusNoContent))
	wantSecurityHeaders(t, preflight.with("Origin", "http://evil.example").send(t).want(t, http.StatusForbidden))
	for range 5 {
		wantSecurityHeaders(t, badLogin.send(t).want(t, http.StatusBadRequest))
	}
	wantSecurityHeaders(t, badLogin.send(t).want(t, http.StatusTooManyRequests))

	g.load(example(t, "Referrer-Policy no-referrer", "Referrer-Policy same-origin")).want(t, http.StatusOK)
	awaitKeys(t, g)
	hit := me.as(ada.token).send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit")
	if got := hit.header.Values("Referrer-Policy"); len(got) != 1 || got[0] != "same-origin" {
		t.Errorf("a stored response says Referrer-Policy: %q, want the running config's", got)
	}
}

// What an upstream says about itself and to browsers is replaced, also where the
// cache has kept it.
func TestHeaders_TheUpstreamIsOverruled(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range map[string]string{
			"Cache-Control": "public, max-age=600", "Server": "upstream/1", "X-Powered-By": "upstream", "X-Frame-Options": "SAMEORIGIN",
			"Referrer-Policy": "unsafe-url", "Strict-Transport-Security": "max-age=1",
		} {
			w.Header().Set(name, value)
		}
		fmt.Fprint(w, "ok")
	}))
	defer upstream.Close()
	g := startGateway(t, example(t, "/openapi.json", "/openapi.json {\n\t\t\t\ton_missing pass\n\t\t\t}"),
		"USERS_ADDRESS="+strings.TrimPrefix(upstream.URL, "http://"))
	things := get(g.url + "/api/things")
	wantSecurityHeaders(t, things.send(t).want(t, http.StatusOK))
	wantSecurityHeaders(t, things.send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit"))
}

// Over https, and there only (RFC 6797, 7.2), browsers are told to stay with it.
func TestHeaders_StrictTransportOverHTTPS(t *testing.T) {
	u := startUsers(t)
	g := startGateway(t, example(t,
		"{$FAIRWAY_LISTEN::8080} {", "https://localhost{$FAIRWAY_LISTEN} {\n\ttls internal\n",
		"	order header first\n", "	order header first\n	skip_install_trust\n	auto_https disable_redirects\n",
	), "USERS_ADDRESS="+u.addr)
	c := http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}, // a CA of this test's own
	}}
	for path, status := range map[string]int{"/health": http.StatusOK, "/lost": http.StatusNotFound} {
		eventually(t, path+" over https", func() error {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(g.url, "http:", "https:", 1)+path, http.NoBody)
			if err != nil {
				return err
			}
			req.Host = "localhost"
			resp, err := c.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if got := resp.Header.Values("Strict-Transport-Security"); resp.StatusCode != status || len(got) != 1 || got[0] != "max-age=31536000" {
				return fmt.Errorf("status %d, Strict-Transport-Security %q", resp.StatusCode, got)
			}
			return nil
		})
	}
}

// The example's policy lets a browser apply the style of our own error page, by
// its hash, and nothing else.
func TestHeaders_TheErrorPageMayHaveItsStyle(t *testing.T) {
	g, _ := startExample(t)
	a := get(g.url+"/lost").with("Accept", "text/html").send(t).want(t, http.StatusNotFound)
	_, rest, _ := strings.Cut(a.body, "<style>")
	style, _, ok := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !ok || !strings.Contains(a.header.Get("Content-Security-Policy"), want) {
		t.Errorf("the policy %q does not allow the page's style, %s", a.header.Get("Content-Security-Policy"), want)
	}
}

// Whatever a client writes into path, query, header and body: no markup of it is
// in the page that a browser shows.
func TestHeaders_ErrorPagesHoldNoForeignMarkup(t *testing.T) {
	g, _ := startExample(t)
	const markup = "<img src=x onerror=alert(1)>"
	for _, r := range []request{
		get(g.url+"/lost/"+url.PathEscape(markup)+"?q="+url.QueryEscape(markup)).with("X-Request-ID", markup),
		get(g.url + "/lost/<script>alert(1)</script>"),
		post(g.url+"/api/auth/register", fmt.Sprintf(`{"email":%[1]q,"name":%[1]q,%[1]q:7,"password":"x","age":%[1]q}`, markup)),
		{method: markup[1:4] + "X", url: g.url + "/api/users/" + url.PathEscape(markup)},
	} {
		a := r.with("Accept", "text/html").send(t)
		if a.status < 400 || a.header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(a.body, "<h1>") {
			t.Errorf("no error page; %s", a)
		}
		if strings.Contains(a.body, "<img") || strings.Contains(a.body, "<script") {
			t.Errorf("markup of the client's is on the page:\n%s", a.body)
		}
	}
}

// A failure is in errors.log, below the data folder, under the id that the client
// has, with its cause and without its secrets. A refusal is no failure.
func TestErrorsLog_HoldsFailuresAlone(t *testing.T) {
	g, u := startExample(t, "breaker 5 failures open 60s", "breaker off")
	awaitKeys(t, g)
	get(g.url+"/lost?access_token=planted-query").send(t).want(t, http.StatusNotFound)
	login := post(g.url+"/api/auth/login?access_token=planted-query&token=planted-too", `{"email":"ada@example.com","password":"planted-password"}`).
		with("Cookie", "session=planted-cookie").as("planted-bearer")
	login.send(t).want(t, http.StatusUnauthorized)
	u.Kill()
	id := login.send(t).want(t, http.StatusServiceUnavailable).header.Get("X-Request-Id")

	file := filepath.Join(g.spec.Dir, "data", "errors.log")
	var text []byte
	eventually(t, "the failure in errors.log", func() (err error) {
		if text, err = os.ReadFile(file); err == nil && !strings.Contains(string(text), id) {
			err = errors.New("it is not there")
		}
		return err
	})
	for line := range strings.Lines(string(text)) {
		var entry struct{ Level, Logger, Error string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if entry.Level != "error" || strings.HasPrefix(entry.Logger, "http.log.access") {
			t.Errorf("no failure, but there: %s", line)
		}
		if strings.Contains(line, id) && entry.Error == "" {
			t.Errorf("no cause: %s", line)
		}
	}
	if strings.Contains(string(text), "planted") || strings.Contains(string(text), "/lost") {
		t.Errorf("errors.log has a secret or a refusal:\n%s", text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("errors.log: %v, %v, want it for its owner alone", info.Mode(), err)
	}
}

package http

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTokens_LoginRefreshLogout(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		f.register("ada@example.com")
		first := f.tokens("ada@example.com")
		if first.TokenType != "Bearer" || first.ExpiresIn != 900 {
			f.t.Errorf("login answers %+v", first)
		}
		refresh := func(token string) *answer { return f.do("POST", "/api/auth/refresh", `{"refresh_token":"`+token+`"}`) }
		a := f.want(200, refresh(first.RefreshToken))
		second := decode[tokenBody](f.t, a)
		if second.RefreshToken == first.RefreshToken || a.Header.Get("Cache-Control") != "no-store" {
			f.t.Errorf("refresh answers %+v, %v", second, a.Header)
		}
		f.want(200, f.do("GET", "/api/users/me", "", "Authorization", "bearer "+second.AccessToken))
		f.want(204, f.do("POST", "/api/auth/logout", `{"refresh_token":"`+second.RefreshToken+`"}`))
		f.want(401, refresh(second.RefreshToken))
	})
}

func TestBearer_TwoTokensAreNone(t *testing.T) {
	f := onSQLite(t, nil)
	_, ada := f.register("ada@example.com")
	r := httptest.NewRequest("GET", "/api/users/me", nil)
	r.Header["Authorization"] = []string{ada[1], ada[1]}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	if w.Code != 401 {
		t.Errorf("status = %d, want 401", w.Code)
	}
}

// The gateway's header says who the user is. Nobody has to believe it.
func TestBearer_XUserIDIsNotBelieved(t *testing.T) {
	f := onSQLite(t, nil)
	f.register("ada@example.com")
	f.want(401, f.do("GET", "/api/users/me", "", "X-User-ID", "1"))
}

func TestLog_HasNoSecrets(t *testing.T) {
	f := onSQLite(t, nil)
	_, ada := f.register("ada@example.com")
	tokens := f.tokens("ada@example.com")
	f.do("POST", "/api/auth/refresh", `{"refresh_token":"`+tokens.RefreshToken+`"}`)
	f.do("POST", "/api/auth/login", `{"email":"ada@example.com","password":"a wrong password"}`)
	f.do("GET", "/api/users/me?access_token="+tokens.AccessToken, "", append(ada, "X-Request-Id", "abc")...)
	log := f.log.String()
	for _, secret := range []string{password, tokens.RefreshToken, tokens.AccessToken, ada[1], "a wrong password"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	for _, fact := range []string{`"path":"/api/users/me"`, `"status":200`, `"user_id":1`, `"request_id":"abc"`} {
		if !strings.Contains(log, fact) {
			t.Errorf("the log does not hold %s", fact)
		}
	}
}

func TestHealth_WhatIsConfigured(t *testing.T) {
	status := http.StatusOK
	external := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer external.Close()

	if a := onSQLite(t, nil).do("GET", "/health", ""); a.StatusCode != 200 || strings.Contains(a.body, "external_api") || !strings.Contains(a.body, `"database":true`) {
		t.Errorf("without an external API: %d %s", a.StatusCode, a.body)
	}
	withExternal := func(c *Config) { c.ExternalAPI = external.URL }
	if a := onSQLite(t, withExternal).do("GET", "/health", ""); a.StatusCode != 200 || !strings.Contains(a.body, `"external_api":true`) {
		t.Errorf("with one: %d %s", a.StatusCode, a.body)
	}
	status = http.StatusInternalServerError
	if a := onSQLite(t, withExternal).do("GET", "/health", ""); a.StatusCode != 503 || !strings.Contains(a.body, `"external_api":false`) || !strings.Contains(a.body, `"degraded"`) {
		t.Errorf("with a broken one: %d %s", a.StatusCode, a.body)
	}
}

// What hangs is given five seconds, and then counts as down.
func TestHealth_HangingAPIIsDownAfterFiveSeconds(t *testing.T) {
	external := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer external.Close()
	f := onSQLite(t, func(c *Config) { c.ExternalAPI = external.URL })
	begun := time.Now()
	a := f.want(503, f.do("GET", "/health", ""))
	if took := time.Since(begun); took < healthTimeout || took > healthTimeout+5*time.Second {
		t.Errorf("it took %s, want some %s", took, healthTimeout)
	}
	h := decode[healthBody](t, a)
	if !h.Database || h.Redis != nil || h.ExternalAPI == nil || *h.ExternalAPI || h.Timestamp.IsZero() {
		t.Errorf("health is %s", a.body)
	}
}

type redisThat struct{ err error }

func (r redisThat) Ping(context.Context) error { return r.err }

func TestHealth_Redis(t *testing.T) {
	for want, err := range map[string]error{`"redis":true`: nil, `"redis":false`: errors.New("down")} {
		a := onSQLite(t, func(c *Config) { c.Redis = redisThat{err} }).do("GET", "/health", "")
		if !strings.Contains(a.body, want) || (a.StatusCode == 200) != (err == nil) {
			t.Errorf("health = %d %s, want %s", a.StatusCode, a.body, want)
		}
	}
}

func TestHealth_DatabaseGone(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		_, ada := f.register("ada@example.com")
		f.db.Close()
		if a := f.do("GET", "/health", ""); a.StatusCode != 503 || !strings.Contains(a.body, `"database":false`) {
			f.t.Errorf("health = %d %s", a.StatusCode, a.body)
		}
		a := f.want(500, f.do("GET", "/api/users/me", "", ada...))
		if a.body != `{"type":"about:blank","title":"Internal Server Error","status":500,"error":"Internal server error","code":"internal_server_error"}` {
			f.t.Errorf("the error tells %s", a.body)
		}
		if !strings.Contains(f.log.String(), "request failed") {
			f.t.Error("the log does not say why")
		}
	})
}

func TestReady_FailsWhileDraining(t *testing.T) {
	f := onSQLite(t, nil)
	f.want(200, f.do("GET", "/ready", ""))
	f.Drain()
	a := f.want(503, f.do("GET", "/ready", ""))
	if a.Header.Get("Connection") != "close" {
		t.Error("clients are not asked to leave")
	}
	f.want(200, f.do("GET", "/health", ""))
}

func TestClientIP_BelievesOnlyProxies(t *testing.T) {
	s := onSQLite(t, nil).s
	for name, tc := range map[string]struct{ peer, forwarded, want string }{
		"proxy":               {"192.0.2.1:1", "198.51.100.7", "198.51.100.7"},
		"proxy, spoofed list": {"192.0.2.1:1", "1.1.1.1, 198.51.100.7", "198.51.100.7"},
		"proxy, nonsense":     {"192.0.2.1:1", "<script>", "192.0.2.1"},
		"proxy, nothing":      {"192.0.2.1:1", "", "192.0.2.1"},
		"stranger":            {"203.0.113.9:1", "1.1.1.1", "203.0.113.9"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tc.peer
		if tc.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tc.forwarded)
		}
		if got := s.clientIP(r); got != tc.want {
			t.Errorf("%s: clientIP() = %q, want %q", name, got, tc.want)
		}
	}
}

// brokenBody fails while it is read.
type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }

type timeoutError struct{}

func (timeoutError) Error() string   { return "too slow" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestBody_BrokenOrSlowIsTheClientsError(t *testing.T) {
	f := onSQLite(t, nil)
	for want, err := range map[int]error{400: errors.New("malformed chunk"), 408: timeoutError{}} {
		r := httptest.NewRequest("POST", "/api/auth/login", io.Reader(brokenBody{err}))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%v: status = %d, want %d", err, w.Code, want)
		}
	}
}

func TestPanic_IsA500AndLogged(t *testing.T) {
	f := onSQLite(t, nil)
	f.s.mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("oops") })
	a := f.want(500, f.do("GET", "/panic", ""))
	if strings.Contains(a.body, "oops") || !strings.Contains(f.log.String(), "oops") {
		t.Errorf("the body is %s and the log %s", a.body, f.log.String())
	}
}

// With the hasher saturated, logins are told to come back; reads go on.
func TestHasher_SaturatedIs503(t *testing.T) {
	f := onSQLite(t, nil)
	_, ada := f.register("ada@example.com")
	busy := make(chan struct{})
	release := f.s.auth.Hasher.Occupy()
	defer release()
	go func() {
		defer close(busy)
		a := f.do("POST", "/api/auth/login", `{"email":"ada@example.com","password":"12345678"}`)
		if a.StatusCode != 503 || a.Header.Get("Retry-After") != "1" {
			t.Errorf("login = %d, Retry-After %q, want 503 and 1", a.StatusCode, a.Header.Get("Retry-After"))
		}
	}()
	f.want(200, f.do("GET", "/api/users/me", "", ada...))
	select {
	case <-busy:
	case <-time.After(10 * time.Second):
		t.Error("the login hangs")
	}
}

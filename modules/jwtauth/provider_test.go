package jwtauth

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
)

// withProvider is Caddy's own authentication handler with our provider in it.
func withProvider(t *testing.T, block string) caddyhttp.MiddlewareHandler {
	t.Helper()
	p := new(Provider)
	if err := p.UnmarshalCaddyfile(caddyfile.NewTestDispenser("jwt {\n" + block + "\n}")); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(newContext(t, t.TempDir(), ""))
	t.Cleanup(cancel)
	config, _ := json.Marshal(map[string]any{"providers": map[string]json.RawMessage{"jwt": raw}})
	module, err := ctx.LoadModuleByID("http.handlers.authentication", config)
	if err != nil {
		t.Fatal(err)
	}
	return module.(*caddyauth.Authentication)
}

func TestProvider_WorksInCaddysAuthentication(t *testing.T) {
	h := withProvider(t, fileIssuer(t)+"placeholder level plan")
	token := sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(time.Now()), map[string]any{"id": "admin"}))
	a := ask(h, request(token))
	if a.seen == nil {
		t.Fatalf("a good token: %d %s", a.status, a.challenge)
	}
	if got := a.repl.ReplaceAll("{http.auth.user.id} {http.auth.user.plan} {http.auth.user.level}", ""); got != "user-1 pro pro" {
		t.Errorf("placeholders say %q; a claim called id must not become the user", got)
	}
	if a := ask(h, request("")); a.status != 401 || !strings.HasPrefix(a.challenge, "Bearer realm=") {
		t.Errorf("no token: %d %q", a.status, a.challenge)
	}
	if a := ask(h, request("x.y.z")); a.status != 401 {
		t.Errorf("a bad token: %d", a.status)
	}
}

func TestProvider_RefusesOptional(t *testing.T) {
	p := &Provider{Config: Config{Optional: true}}
	if err := p.Provision(newContext(t, t.TempDir(), "")); err == nil || !strings.Contains(err.Error(), "optional") {
		t.Errorf("optional: %v", err)
	}
}

// Beside another provider that is asked first, nobody would strip the field.
func TestProvider_RefusesHeaders(t *testing.T) {
	p := &Provider{Config: Config{Headers: []HeaderRule{{Name: "X-User-ID", Claim: "sub"}}}}
	if err := p.Provision(newContext(t, t.TempDir(), "")); err == nil || !strings.Contains(err.Error(), "headers (X-User-ID)") {
		t.Errorf("headers: %v", err)
	}
}

func TestProvider_UnavailableIsAnError(t *testing.T) {
	s := newKeyServer(t)
	s.behave(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	p := new(Provider)
	if err := p.UnmarshalCaddyfile(caddyfile.NewTestDispenser("jwt {\n" + s.block("") + "\n}")); err != nil {
		t.Fatal(err)
	}
	if err := p.Provision(newContext(t, t.TempDir(), "")); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Cleanup(); err != nil {
			t.Error(err)
		}
	}()
	w := httptest.NewRecorder()
	_, ok, err := p.Authenticate(w, request(tokenBy(t, "ES256", "p256", time.Now(), time.Hour)))
	if ok || err == nil {
		t.Errorf("got %v, %v; want a technical error", ok, err)
	}
}

package jwtauth

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestCaddyJWT_LoadsUnchangedWhereItIsSafe(t *testing.T) {
	secret := []byte("NFL5*0Bc#9U6E@tnmC&E7SUN6GwHfLmY")
	c, err := unmarshalCaddyJWT(caddyfile.NewTestDispenser(`jwtauth {
		sign_key ` + base64.StdEncoding.EncodeToString(secret) + `
		sign_alg HS256
		from_query access_token token
		from_header X-Api-Token Authorization
		from_cookies user_session
		issuer_whitelist https://api.example.com https://login.example.com
		audience_whitelist https://api.example.io https://learn.example.com
		user_claims uid user_id username login
		meta_claims "IsAdmin->is_admin" "settings.payout.paypal.enabled->is_paypal_enabled" gender
	}`))
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{Config: *c}
	if err := h.Provision(newContext(t, t.TempDir(), "")); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	}()
	token := sign(t, "HS256", secret, nil, map[string]any{
		"iss": "https://login.example.com", "aud": "https://api.example.io", "exp": time.Now().Add(time.Hour).Unix(),
		"uid": 3406327963516932, "IsAdmin": true, "settings": map[string]any{"payout": map[string]any{"paypal": map[string]any{"enabled": false}}},
	})
	for _, where := range []string{"query", "token", "X-Api-Token", "Authorization", "Cookie"} {
		r := httptest.NewRequest("GET", "/", nil)
		switch where {
		case "query":
			r.URL.RawQuery = "access_token=" + token
		case "token":
			r.URL.RawQuery = "token=" + token
		case "Cookie":
			r.Header.Set("Cookie", "user_session="+token)
		default:
			r.Header.Set(where, "Bearer "+token)
		}
		a := ask(h, r)
		if got := a.repl.ReplaceAll("{http.auth.user.id} {http.auth.user.is_admin} {http.auth.user.is_paypal_enabled}", ""); got != "3406327963516932 true false" {
			t.Errorf("%s: %d %s, placeholders %q", where, a.status, a.challenge, got)
		}
	}
}

func TestCaddyJWT_NamesTheSafeSpelling(t *testing.T) {
	const key = "sign_key TkZMNSowQmMjOVU2RUB0bm1DJkU3U1VONkd3SGZMbVk=\n"
	const rest = "sign_alg HS256\nissuer_whitelist a\naudience_whitelist b\n"
	for _, tc := range []struct{ block, want string }{
		{"", "exactly one of sign_key and jwk_url"},
		{key + "jwk_url https://x/y\n" + rest, "exactly one of sign_key and jwk_url"},
		{key, `"sign_alg RS256"`},
		{key + "sign_alg HS256", `"issuer_whitelist <iss>"`},
		{key + "sign_alg HS256\nissuer_whitelist a", `"audience_whitelist <aud>"`},
		{"skip_verification", "lets anyone be anyone"},
		{key + rest + "header_first true", "header_first"},
		{key + rest + "meta_claims a->b->c", ""},
		{key + rest + "meta_claims a->id", "meta_claims"},
		{key + rest + "meta_claims a->b c->b", "meta_claims"},
		{key + rest + "sign_key x", "sign_key is given twice"},
		{key + rest + "allow x", `unknown option "allow"`},
	} {
		_, err := unmarshalCaddyJWT(caddyfile.NewTestDispenser("jwtauth {\n" + tc.block + "\n}"))
		if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%q: %v, want %q", tc.block, err, tc.want)
		}
	}
	// What only shows in the values is refused when the config is loaded.
	for block, want := range map[string]string{
		"jwk_url http://idp.example/keys\n" + rest:       "must be https",
		"sign_key c2hvcnQ=\n" + rest:                     "the secret has 5 bytes",
		"sign_key !\n" + rest:                            "not base64",
		key + strings.Replace(rest, "HS256", "none", 1):  `"none" is not one of`,
		key + strings.Replace(rest, "HS256", "RS256", 1): "goes with none of the algorithms RS256",
	} {
		c, err := unmarshalCaddyJWT(caddyfile.NewTestDispenser("jwtauth {\n" + block + "\n}"))
		if err != nil {
			t.Fatal(err)
		}
		h := &Handler{Config: *c}
		if err := h.Provision(newContext(t, t.TempDir(), "")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", block, err, want)
		}
	}
}

func TestCaddyJWT_SecretStaysAPlaceholderInTheConfig(t *testing.T) {
	c, err := unmarshalCaddyJWT(caddyfile.NewTestDispenser("jwtauth {\nsign_key {env.K}\nsign_alg HS256\nissuer_whitelist a\naudience_whitelist b\n}"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(c)
	if !strings.Contains(string(b), `"key":"base64:{env.K}"`) {
		t.Errorf("config %s", b)
	}
}

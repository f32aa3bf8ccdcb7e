package jwtauth

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// execute runs a subcommand and returns what it printed.
func execute(cmd *cobra.Command, stdin string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	cmd.SilenceUsage = true
	err := cmd.Execute()
	return out.String(), err
}

// keyFile writes a private key as PEM, or a secret.
func keyFile(t *testing.T, key any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	content, isSecret := key.([]byte)
	if !isSecret {
		der, err := x509.MarshalPKCS8PrivateKey(key.(crypto.Signer))
		if err != nil {
			t.Fatal(err)
		}
		content = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenSign_MakesTokensThatAreAccepted(t *testing.T) {
	for _, alg := range []string{"RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS512"} {
		key := signingKey(alg)
		if secret, ok := key.([]byte); ok {
			key = []byte(b64(secret)) // no line breaks at its end
		}
		token, err := execute(signCommand(), "", "--key", keyFile(t, key), "--alg", alg,
			"--claim", "iss="+testIssuer, "--claim", `aud=["x","fairway"]`, "--claim", "sub=42", "--claim", "admin=true", "--claims", `{"plan":"pro"}`)
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		v := verifierFor(t, jwks(jwkOf("", "", key)), alg)
		got := v.Verify(strings.TrimSpace(token), time.Now())
		if got.Reason != ReasonOK || got.Caller.ID() != "42" || got.Caller.text("admin") != "true" || got.Caller.text("plan") != "pro" || got.Caller.tokenID() == "" {
			t.Errorf("%s: %v %+v", alg, got.Reason, got.Caller)
		}
	}
}

func TestTokenSign_Mistakes(t *testing.T) {
	ec := keyFile(t, testKeys().ec)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{nil, `--alg "" is not one of`},
		{[]string{"--alg", "none"}, `--alg "none" is not one of`},
		{[]string{"--alg", "ES256"}, "--key is missing"},
		{[]string{"--alg", "ES256", "--key", "/nowhere"}, "/nowhere"},
		{[]string{"--alg", "ES256", "--key", keyFile(t, []byte("x"))}, "no private key in PEM"},
		{[]string{"--alg", "HS256", "--key", keyFile(t, []byte("short"))}, "the secret has 5 bytes"},
		{[]string{"--alg", "RS256", "--key", ec}, "(P-256) does not go with --alg RS256"},
		{[]string{"--alg", "ES256", "--key", ec, "--claims", "[]"}, "--claims: not a JSON object"},
		{[]string{"--alg", "ES256", "--key", ec, "--claim", "x"}, `--claim "x" is not name=value`},
	} {
		if _, err := execute(signCommand(), "", tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.args, err, tc.want)
		}
	}
}

func TestTokenInspect_SaysWhy(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	s := newKeyServer(t)
	document, err := json.Marshal(map[string]any{"storage": map[string]any{"module": "file_system", "root": t.TempDir()}, "apps": map[string]any{"http": map[string]any{"routes": []any{
		map[string]any{"handler": "jwt_auth", "issuers": []any{map[string]any{
			"issuer": testIssuer, "jwks_url": s.URL, "algorithms": []string{"RS256", "ES256"}, "audience": []string{testAudience},
		}}, "scopes": map[string]any{"all": []string{"users:read"}}},
		map[string]any{"handler": "authentication", "providers": map[string]any{"jwt": map[string]any{"issuers": []any{map[string]any{
			"issuer": "https://other.example", "key": publicPEM(t, testKeys().ec), "algorithms": []string{"ES256"}, "audience": []string{"any"},
		}}}}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	token := func(alg string, header testHeader, changes map[string]any) string {
		return sign(t, alg, signingKey(alg), header, with(goodClaims(now), changes))
	}
	for _, tc := range []struct {
		name, token string
		want        []string
		accepted    bool
	}{
		{"good", token("RS256", nil, nil), []string{`algorithm RS256`, `"plan": "pro"`, "exp is ", "in 15m0s", `jwt_auth 1 (https://idp.example): accepted, the user is "user-1"`, "jwt_auth 2 (https://other.example): refused with 401, reason issuer", "wanted: iss https://other.example"}, true},
		{"the provider's", token("ES256", nil, map[string]any{"iss": "https://other.example"}), []string{`jwt_auth 2 (https://other.example): accepted`}, true},
		{"expired", token("RS256", nil, map[string]any{"exp": now.Add(-time.Hour).Unix()}), []string{"exp is ", "1h0m0s ago", "reason expired: the token has expired"}, false},
		{"audience", token("RS256", nil, map[string]any{"aud": "x"}), []string{"reason audience", "wanted: aud fairway"}, false},
		{"algorithm", token("EdDSA", nil, nil), []string{"reason algorithm", "wanted: alg RS256 or ES256"}, false},
		{"key", token("RS256", testHeader{"kid": "old"}, nil), []string{"reason key", `wanted: a kid of "rsa" (RSA), "p256" (EC)`}, false},
		{"scope", token("RS256", nil, map[string]any{"scope": "x"}), []string{"refused with 403, reason scope", `all of the scopes ["users:read"]`}, false},
	} {
		var out bytes.Buffer
		err := inspect(&out, tc.token, document, now)
		if (err == nil) != tc.accepted {
			t.Errorf("%s: %v", tc.name, err)
		}
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", tc.name, want, out.String())
			}
		}
	}
	if err := inspect(io.Discard, "x.y", document, now); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("nonsense: %v", err)
	}
	if err := inspect(io.Discard, token("RS256", nil, nil), []byte(`{}`), now); err == nil || !strings.Contains(err.Error(), "no jwt_auth") {
		t.Errorf("a config without jwt_auth: %v", err)
	}
}

// A token that some gateway revoked is shown as such, wherever that is kept.
func TestTokenInspect_KnowsWhatIsRevoked(t *testing.T) {
	server := redistest.Start(t)
	for name, app := range map[string]string{"in storage": `{}`, "in redis": redisApp(server.URL())} {
		storage := t.TempDir()
		n := newNode(t, storage, app, fileIssuer(t))
		keys := n.Issuers[0].JWKSFile
		token := sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(time.Now()), map[string]any{"jti": name}))
		document := fmt.Appendf(nil, `{"storage":{"module":"file_system","root":%q},"apps":{"fairway":%s,"http":{"handler":"jwt_auth","issuers":[
			{"issuer":%q,"jwks_file":%q,"algorithms":["RS256"],"audience":["any"]}]}}}`, storage, app, testIssuer, keys)
		for _, want := range []string{"accepted, the user is", "refused with 401, reason revoked"} {
			var out bytes.Buffer
			err := inspect(&out, token, document, time.Now())
			if !strings.Contains(out.String(), want) || (err == nil) != strings.HasPrefix(want, "accepted") {
				t.Errorf("%s: %v, want %q in\n%s", name, err, want, out.String())
			}
			if _, err := n.act(t, "revoke", map[string]string{"token": token}); err != nil {
				t.Fatal(err)
			}
		}
		n.stop(t)
	}
	server.Kill()
	var out bytes.Buffer
	document := fmt.Appendf(nil, `{"storage":{"module":"file_system","root":%q},"apps":{"fairway":%s,"http":{"handler":"jwt_auth","issuers":[]}}}`,
		t.TempDir(), redisApp(server.URL()))
	_ = inspect(&out, sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now())), document, time.Now())
	if !strings.Contains(out.String(), "revocations are not all known") {
		t.Errorf("without redis it says\n%s", out.String())
	}
}

func TestTokenRevoke_TellsTheGateway(t *testing.T) {
	var got map[string]string
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = map[string]string{"path": r.Method + " " + r.URL.Path}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		fmt.Fprintln(w, `{"revoked":"jti"}`)
	}))
	defer admin.Close()
	address := strings.TrimPrefix(admin.URL, "http://")
	for _, tc := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{"a.b.c"}, `{"path":"POST /fairway/jwt_auth/revoke","token":"a.b.c"}`},
		{" a.b.c\n", []string{"-"}, `{"path":"POST /fairway/jwt_auth/revoke","token":"a.b.c"}`},
		{"", []string{"--iss", "i", "--jti", "j", "--exp", "5"}, `{"exp":"5","iss":"i","jti":"j","path":"POST /fairway/jwt_auth/revoke"}`},
		{"", []string{"--sub", "42", "--not-before", "7"}, `{"not_before":"7","path":"POST /fairway/jwt_auth/revoke","sub":"42"}`},
	} {
		out, err := execute(revokeCommand(), tc.stdin, append(tc.args, "--address", address)...)
		sent, _ := json.Marshal(got)
		if err != nil || string(sent) != tc.want || !strings.Contains(out, "revoked") {
			t.Errorf("%v: %v, sent %s, want %s, printed %q", tc.args, err, sent, tc.want, out)
		}
	}
	if _, err := execute(revokeCommand(), "", "a.b.c", "--sub", "42"); err == nil {
		t.Error("a token and a subject at once are accepted")
	}
	if _, err := execute(revokeCommand(), " \n", "-"); err == nil {
		t.Error("no token on standard input is accepted")
	}
}

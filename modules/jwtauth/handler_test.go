package jwtauth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// newContext is the context of a config with its own storage and, if the app is
// not empty, that JSON for the fairway app.
func newContext(tb testing.TB, storage, app string) caddy.Context {
	tb.Helper()
	cfg := &caddy.Config{StorageRaw: fmt.Appendf(nil, `{"module":"file_system","root":%q}`, storage)}
	if app != "" {
		cfg.AppsRaw = caddy.ModuleMap{"fairway": json.RawMessage(app)}
	}
	ctx, err := caddy.ProvisionContext(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		app, err := gateway.From(ctx)
		if err == nil {
			err = app.Cleanup()
		}
		if err != nil {
			tb.Error(err)
		}
	})
	return ctx
}

// parseHandler reads a jwt_auth block.
func parseHandler(block string) (*Handler, error) {
	h := new(Handler)
	return h, h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("jwt_auth {\n" + block + "\n}"))
}

// startHandler provisions a handler. The caller cleans it up.
func startHandler(tb testing.TB, ctx caddy.Context, block string) (*Handler, error) {
	tb.Helper()
	h, err := parseHandler(block)
	if err != nil {
		return h, err
	}
	return h, h.Provision(ctx)
}

// newHandler provisions a handler for the test's life.
func newHandler(tb testing.TB, block string) *Handler {
	tb.Helper()
	h, err := startHandler(tb, newContext(tb, tb.TempDir(), ""), block)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// fileIssuer is an issuer block with all public keys in a file.
func fileIssuer(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "jwks.json")
	if err := os.WriteFile(path, publicKeySet(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("issuer %s {\njwks_file %s\nalgorithms RS256 ES256 EdDSA\naudience %s\n}\n", testIssuer, path, testAudience)
}

// answer is what came of a request.
type answer struct {
	status    int
	header    http.Header   // of the response
	seen      *http.Request // by the next handler; nil if it was refused
	repl      *caddy.Replacer
	code      any
	challenge string
}

// ask sends a request through a handler.
func ask(h caddyhttp.MiddlewareHandler, r *http.Request) answer {
	repl := caddy.NewReplacer()
	vars := map[string]any{}
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)
	r = r.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, vars))
	a := answer{status: http.StatusOK, repl: repl}
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		a.seen = r
		return nil
	}))
	if err != nil {
		a.status = http.StatusInternalServerError
		if he, ok := err.(caddyhttp.HandlerError); ok {
			a.status = he.StatusCode
		}
	}
	a.header, a.code, a.challenge = w.Header(), vars[gateway.VarError], w.Header().Get("WWW-Authenticate")
	return a
}

func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/api/users/me", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func TestHandler_LetsAGoodTokenPass(t *testing.T) {
	h := newHandler(t, fileIssuer(t)+`
		header X-User-ID sub
		header X-Roles address.roles
		header X-Absent nothing
		placeholder city address.city`)
	token := sign(t, "ES256", testKeys().ec, testHeader{"kid": "p256"}, with(goodClaims(time.Now()), map[string]any{
		"address": map[string]any{"city": "Ulm", "roles": []string{"a", "b"}}, "id": "not the user", "big": json.RawMessage("12345678901234567890"),
	}))
	a := ask(h, request(token))
	if a.seen == nil {
		t.Fatalf("refused: %d, %s", a.status, a.challenge)
	}
	for name, want := range map[string]string{"X-User-ID": "user-1", "X-Roles": "a,b", "X-Absent": ""} {
		if got := a.seen.Header.Get(name); got != want {
			t.Errorf("upstream sees %s: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"id": "user-1", "sub": "user-1", "plan": "pro", "city": "Ulm", "address.city": "Ulm",
		"big": "12345678901234567890", "scope": "users:read users:write", "nothing": "",
	} {
		if got := a.repl.ReplaceAll("{http.auth.user."+name+"}", ""); got != want {
			t.Errorf("{http.auth.user.%s} = %q, want %q", name, got, want)
		}
	}
	id, _ := caddyhttp.GetVar(a.seen.Context(), gateway.VarIdentity).(*gateway.Identity)
	if want := (gateway.Identity{Issuer: testIssuer, Subject: "user-1"}); id == nil || *id != want {
		t.Errorf("identity = %+v, want %+v", id, want)
	}
}

func TestHandler_Challenges(t *testing.T) {
	now := time.Now()
	h := newHandler(t, fileIssuer(t)+`
		scopes all users:read
		claim role in user admin
		require plan
		realm "my \"api\""
		resource_metadata https://api.example/.well-known/oauth-protected-resource`)
	token := func(changes map[string]any) *http.Request {
		return request(sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(now), changes)))
	}
	two := token(nil)
	two.Header.Add("Authorization", "Bearer another")
	const realm, metadata = `Bearer realm="my \"api\""`, `, resource_metadata="https://api.example/.well-known/oauth-protected-resource"`
	for _, tc := range []struct {
		name      string
		r         *http.Request
		status    int
		code      string
		challenge string
	}{
		{"no token", request(""), 401, "Unauthorized", realm + `, scope="users:read"` + metadata},
		{"expired", token(map[string]any{"exp": now.Add(-time.Hour).Unix()}), 401, "Unauthorized", realm + `, error="invalid_token", error_description="the token has expired"` + metadata},
		{"nonsense", request("nonsense"), 401, "Unauthorized", realm + `, error="invalid_token", error_description="the token is malformed"` + metadata},
		{"two tokens", two, 400, "Bad request", realm + `, error="invalid_request", error_description="more than one token was sent"` + metadata},
		{"scope", token(map[string]any{"scope": "users:write"}), 403, "Forbidden", realm + `, error="insufficient_scope", error_description="the scopes of the token do not suffice", scope="users:read"` + metadata},
		{"claim", token(map[string]any{"role": "guest"}), 403, "Forbidden", realm + `, error="insufficient_scope", error_description="the claims of the token do not suffice"` + metadata},
		{"require", token(map[string]any{"plan": nil}), 403, "Forbidden", realm + `, error="insufficient_scope", error_description="a required claim is missing"` + metadata},
	} {
		a := ask(h, tc.r)
		if a.status != tc.status || a.code != tc.code || a.challenge != tc.challenge || a.seen != nil {
			t.Errorf("%s: got %d %v\n%s\nwant %d %s\n%s", tc.name, a.status, a.code, a.challenge, tc.status, tc.code, tc.challenge)
		}
	}
}

func TestHandler_StripsWhatOnlyItMaySay(t *testing.T) {
	h := newHandler(t, fileIssuer(t)+"header X-User-ID sub\noptional")
	spoof := func(token string) *http.Request {
		r := request(token)
		for _, name := range []string{"X-User-ID", "X-User-Id", "x-user-id", "X_User_ID", "x_user-id", "X.User.Id", "X-USER-ID"} {
			r.Header[name] = []string{"admin"}
		}
		r.Header["X-User-Idx"] = []string{"kept"}
		r.Header["Connection"] = []string{"close, X-User-Id", "x_user_id,upgrade"}
		r.Trailer = http.Header{"X-User-Id": nil, "Checksum": nil}
		return r
	}
	token := sign(t, "EdDSA", testKeys().ed, nil, goodClaims(time.Now()))
	for name, want := range map[string]map[string]string{
		"":    {"X-User-Idx": "kept", "Connection": "close, upgrade"},
		token: {"X-User-Idx": "kept", "Connection": "close, upgrade", "X-User-Id": "user-1", "Authorization": "Bearer " + token},
	} {
		a := ask(h, spoof(name))
		if a.seen == nil {
			t.Fatalf("refused: %s", a.challenge)
		}
		for field, values := range a.seen.Header {
			if got := strings.Join(values, "|"); want[field] != got {
				t.Errorf("token %v: upstream sees %s: %q, want %q", name != "", field, got, want[field])
			}
		}
		if len(a.seen.Trailer) != 1 {
			t.Errorf("trailers: %v, want only Checksum", a.seen.Trailer)
		}
	}
}

// Trailers come after the handler has let the request pass.
func TestHandler_StripsTrailers(t *testing.T) {
	h := newHandler(t, fileIssuer(t)+"header X-User-ID sub\noptional")
	trailers := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			_, err := io.Copy(io.Discard, r.Body)
			trailers <- r.Trailer
			return err
		}))
		if err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nTrailer: X-User-ID, Checksum\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"3\r\nabc\r\n0\r\nX-User-ID: admin\r\nX_User_Id: admin\r\nChecksum: 1\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-trailers; len(got) != 1 || got.Get("Checksum") != "1" {
		t.Errorf("the upstream would see the trailers %v, want only Checksum", got)
	}
}

func TestHandler_OptionalRefusesABadToken(t *testing.T) {
	h := newHandler(t, fileIssuer(t)+"optional")
	if a := ask(h, request("")); a.seen == nil || a.repl.ReplaceAll("{http.auth.user.id}", "nobody") != "nobody" {
		t.Errorf("without a token: %d, user %q", a.status, a.repl.ReplaceAll("{http.auth.user.id}", "nobody"))
	}
	if a := ask(h, request("x.y.z")); a.status != 401 {
		t.Errorf("with a bad token: %d, want 401", a.status)
	}
}

func TestHandler_RefusesClaimsThatNoHeaderCarries(t *testing.T) {
	h := newHandler(t, fileIssuer(t)+"header X-User-ID sub")
	for _, sub := range []string{"a\r\nX-Admin: 1", "a\n", "\x00", " admin", "admin ", "admin\t", "\x7f"} {
		a := ask(h, request(sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(time.Now()), map[string]any{"sub": sub}))))
		if a.status != 401 || a.seen != nil {
			t.Errorf("sub %q: %d, want 401", sub, a.status)
		}
	}
	a := ask(h, request(sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(time.Now()), map[string]any{"sub": "Jürgen Groß"}))))
	if a.seen == nil || a.seen.Header.Get("X-User-ID") != "Jürgen Groß" {
		t.Errorf("a name with umlauts: %d %s", a.status, a.challenge)
	}
}

func TestHandler_FindsTokensElsewhere(t *testing.T) {
	h := newHandler(t, fileIssuer(t)+`
		from header Authorization Bearer
		from header X-Api-Token
		from cookie session
		from query access_token`)
	token := sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now()))
	build := func(query string, fields ...string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/"+query, nil)
		for i := 0; i < len(fields); i += 2 {
			r.Header.Add(fields[i], fields[i+1])
		}
		return r
	}
	for _, tc := range []struct {
		name string
		r    *http.Request
		want int
		id   gateway.Identity
	}{
		{"header", build("", "Authorization", "Bearer "+token), 200, gateway.Identity{}},
		{"header, scheme in another case and two spaces", build("", "Authorization", "bEaReR  "+token), 200, gateway.Identity{}},
		{"bare header", build("", "X-Api-Token", token), 200, gateway.Identity{}},
		{"bare header with a scheme", build("", "X-Api-Token", "Bearer "+token), 200, gateway.Identity{}},
		{"cookie", build("", "Cookie", "a=b; session="+token+"; c=d"), 200, gateway.Identity{}},
		{"quoted cookie", build("", "Cookie", `session="`+token+`"`), 200, gateway.Identity{}},
		{"query", build("?a=b&access_token=" + token), 200, gateway.Identity{QueryParam: "access_token"}},
		{"query, name escaped", build("?access%5Ftoken=" + token), 200, gateway.Identity{QueryParam: "access_token"}},
		{"another scheme", build("", "Authorization", "Basic dXNlcjpwYXNz"), 401, gateway.Identity{}},
		{"another scheme and a cookie", build("", "Authorization", "Basic dXNlcjpwYXNz", "Cookie", "session="+token), 200, gateway.Identity{}},
		{"no token after the scheme", build("", "Authorization", "Bearer"), 401, gateway.Identity{}},
		{"a tab after the scheme", build("", "Authorization", "Bearer\t"+token), 401, gateway.Identity{}},
		{"scheme that only begins alike", build("", "Authorization", "Bearerx "+token), 401, gateway.Identity{}},
		{"header and cookie", build("", "Authorization", "Bearer "+token, "Cookie", "session="+token), 400, gateway.Identity{}},
		{"header and query", build("?access_token="+token, "Authorization", "Bearer "+token), 400, gateway.Identity{}},
		{"two headers", build("", "Authorization", "Bearer "+token, "Authorization", "Bearer "+token), 400, gateway.Identity{}},
		{"two headers, one of another scheme", build("", "Authorization", "Basic dXNlcjpwYXNz", "Authorization", "Bearer "+token), 400, gateway.Identity{}},
		{"two cookies", build("", "Cookie", "session="+token+"; session=x"), 400, gateway.Identity{}},
		{"two cookie lines", build("", "Cookie", "session="+token, "Cookie", "session=x"), 400, gateway.Identity{}},
		{"two parameters", build("?access_token=" + token + "&access%5ftoken=x"), 400, gateway.Identity{}},
		{"cookie in another case", build("", "Cookie", "Session="+token), 401, gateway.Identity{}},
	} {
		a := ask(h, tc.r)
		if a.status != tc.want {
			t.Errorf("%s: %d %s, want %d", tc.name, a.status, a.challenge, tc.want)
			continue
		}
		if a.seen != nil {
			tc.id.Issuer, tc.id.Subject = testIssuer, "user-1"
			if got, _ := caddyhttp.GetVar(a.seen.Context(), gateway.VarIdentity).(*gateway.Identity); got == nil || *got != tc.id {
				t.Errorf("%s: identity %+v, want %+v", tc.name, got, tc.id)
			}
		}
	}
}

func TestHandler_KeepsIssuersApart(t *testing.T) {
	k := testKeys()
	write := func(name string, doc []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, doc, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("JWT_SECRET", b64(k.secret))
	h := newHandler(t, fmt.Sprintf(`
		issuer https://one.example {
			jwks_file %s
			algorithms RS256
			audience fairway
		}
		issuer https://two.example {
			jwks_file %s
			algorithms RS256
			audience other fairway
		}
		issuer local {
			key {env.JWT_SECRET}
			algorithms HS256
			audience any
		}`, write("one.json", jwks(jwkOf("a", "RS256", k.rsa))), write("two.json", jwks(jwkOf("a", "RS256", k.otherRSA)))))
	token := func(alg string, key any, issuer string) string {
		return sign(t, alg, key, testHeader{"kid": "a"}, with(goodClaims(time.Now()), map[string]any{"iss": issuer}))
	}
	secret := []byte(os.Getenv("JWT_SECRET"))
	for _, tc := range []struct {
		name, token string
		want        int
	}{
		{"one", token("RS256", k.rsa, "https://one.example"), 200},
		{"two", token("RS256", k.otherRSA, "https://two.example"), 200},
		{"local", token("HS256", secret, "local"), 200},
		{"one's key says two", token("RS256", k.rsa, "https://two.example"), 401},
		{"local secret says one", token("HS256", secret, "https://one.example"), 401},
		{"one's key says local", token("RS256", k.rsa, "local"), 401},
	} {
		if a := ask(h, request(tc.token)); a.status != tc.want {
			t.Errorf("%s: %d %s, want %d", tc.name, a.status, a.challenge, tc.want)
		}
	}
}

func TestHandler_LastOfTwoSaysWhoItIs(t *testing.T) {
	first := newHandler(t, fileIssuer(t))
	second := newHandler(t, fileIssuer(t)+"from header X-Second")
	r := request(sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now())))
	r.Header.Set("X-Second", sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(time.Now()), map[string]any{"sub": "user-2", "plan": "free"})))
	chain := middlewares{first, second}
	a := ask(chain, r)
	if got := a.repl.ReplaceAll("{http.auth.user.id} {http.auth.user.sub} {http.auth.user.plan}", ""); got != "user-2 user-2 free" {
		t.Errorf("placeholders say %q", got)
	}
}

// middlewares is two handlers, one after the other.
type middlewares [2]caddyhttp.MiddlewareHandler

func (m middlewares) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return m[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return m[1].ServeHTTP(w, r, next)
	}))
}

func TestHandler_RefusesConfigs(t *testing.T) {
	const rest = "\naudience a\n}"
	weak := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(weak, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	quoted := func(s string) string { return "`" + s + "`" }
	for _, tc := range []struct{ block, want string }{
		{"", "no issuer is given"},
		{"issuer", "wrong argument count"},
		{"issuer x {\nkey s\nalgorithms HS256\n}", "audience is required"},
		{"issuer x {\nkey s" + rest, "algorithms are required"},
		{"issuer x {\nkey s\nalgorithms none" + rest, `algorithms: "none" is not one of ES256`},
		{"issuer x {\nkey s\nalgorithms hs256" + rest, `"hs256" is not one of`},
		{"issuer x {\nkey s\nalgorithms HS256 RS256" + rest, "mixes HMAC with public-key algorithms"},
		{"issuer x {\nkey s\nalgorithms HS256 HS256" + rest, `"HS256" is given twice`},
		{"issuer x {\nkey short\nalgorithms HS256" + rest, `issuer "x": key: the secret has 5 bytes`},
		{"issuer x {\nkey " + strings.Repeat("a", 32) + "\nalgorithms HS256" + rest, "only 1 different bytes"},
		{"issuer x {\nkey a-string-secret-at-least-256-bits-long\nalgorithms HS256" + rest, "public documentation"},
		{"issuer x {\nkey abcdefghijklmnopqrstuvwxyz0123456789\nalgorithms HS256 HS512" + rest, "does not go with algorithm HS512"},
		{"issuer x {\nkey " + quoted(publicPEM(t, testKeys().rsa)) + "\nalgorithms HS256" + rest, "the key (RSA 2048 bit) goes with none of the algorithms HS256"},
		{"issuer x {\nkey {env.NOT_SET_ANYWHERE}\nalgorithms HS256" + rest, "NOT_SET_ANYWHERE"},
		{"issuer x {\nkey `{\"kty\":\"RSA\",\"d\":\"AQ\"}`\nalgorithms RS256" + rest, "private key"},
		{"issuer x {\nalgorithms RS256" + rest, "exactly one of discovery, jwks_url, jwks_file and key is needed, got 0"},
		{"issuer x {\nkey s\njwks_file f\nalgorithms RS256" + rest, "got 2"},
		{"issuer x {\njwks_file /nowhere.json\nalgorithms RS256" + rest, "jwks_file: open /nowhere.json"},
		{"issuer x {\njwks_file " + file("html", "<html>") + "\nalgorithms RS256" + rest, "not a JSON object"},
		{"issuer x {\njwks_file " + file("empty", `{"keys":[]}`) + "\nalgorithms RS256" + rest, "no usable key"},
		{"issuer x {\njwks_url http://idp.example/jwks\nalgorithms RS256" + rest, `jwks_url: "http://idp.example/jwks" must be https`},
		{"issuer x {\njwks_url http://idp.example/jwks?key=secret\nalgorithms RS256" + rest, `jwks_url: "http://idp.example/jwks" must be https`},
		{"issuer x {\njwks_url http://127.0.0.1.evil.example/jwks\nalgorithms RS256" + rest, "must be https"},
		{"issuer x {\njwks_url idp.example/jwks\nalgorithms RS256" + rest, "not an absolute URL"},
		{"issuer x {\njwks_url https://u:p@idp.example/jwks\nalgorithms RS256" + rest, "user information"},
		{"issuer x {\ndiscovery\nalgorithms RS256" + rest, "discovery:"},
		{"issuer https://x {\ndiscovery\nalgorithms RS256\nrefresh 1s\nmin_refresh 1m" + rest, "min_refresh: 1m0s is longer than refresh, 1s"},
		{"issuer https://x {\ndiscovery\nalgorithms RS256\nmax_stale 1m" + rest, "max_stale: 1m0s is shorter than refresh"},
		{"issuer https://x {\ndiscovery\nalgorithms RS256\ntls_ca /nowhere.pem" + rest, "tls_ca: open /nowhere.pem"},
		{"issuer x {\nkey s\nkey t" + rest, "key is given twice"},
		{"issuer x {\nkeys s" + rest, `issuer "x": unknown option "keys"`},
		{fileIssuer(t) + "leeway 11m", "leeway: must be at most 10m0s, got 11m0s"},
		{fileIssuer(t) + "leeway soon", `leeway: "soon" is not a duration`},
		{fileIssuer(t) + "scopes some a", `scopes: "some" is not all or any`},
		{fileIssuer(t) + "claim role admin", "wrong argument count"},
		{fileIssuer(t) + "claim role is admin", `expected "in", got "is"`},
		{fileIssuer(t) + "header X-User", "wrong argument count"},
		{fileIssuer(t) + "header X-User sub\nheader x_user name", "header X_user: given twice"},
		{fileIssuer(t) + "header Host sub", "header Host: this field cannot carry a claim"},
		{fileIssuer(t) + "header Bad:Name sub", "not a valid field name"},
		{fileIssuer(t) + "from body token", `from "body": must be header, cookie or query`},
		{fileIssuer(t) + "from cookie a b", "a scheme is for headers only"},
		{fileIssuer(t) + "from cookie a\nfrom cookie a", "from cookie a: given twice"},
		{fileIssuer(t) + "from header X-User\nheader x_user sub", "from header X-User: the field is also to carry a claim"},
		{fileIssuer(t) + "placeholder id sub", `placeholder "id"`},
		{fileIssuer(t) + "cache_size 10KiB", "cache_size: must be at least 1MiB"},
		{fileIssuer(t) + "cache_size big", `cache_size: "big" is not a size`},
		{fileIssuer(t) + "optional yes", "wrong argument count"},
		{fileIssuer(t) + "realm a\nrealm b", "realm is given twice"},
		{fileIssuer(t) + "resource_metadata /x", `resource_metadata: "/x" is not an absolute URL`},
		{fileIssuer(t) + "revocation_on_error maybe", `revocation_on_error: "maybe"`},
		{fileIssuer(t) + "requires a", `unknown option "requires"`},
		{fileIssuer(t) + fileIssuer(t), `issuer "https://idp.example" is given twice`},
	} {
		h, err := startHandler(t, newContext(t, t.TempDir(), ""), tc.block)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q:\ngot  %v\nwant %q", tc.block, err, tc.want)
		}
		if err := h.Cleanup(); err != nil {
			t.Errorf("%q: cleanup: %v", tc.block, err)
		}
	}
}

package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// What those who run the gateway see of the decisions: metrics by issuer and
// reason, the key set by `fairway keys`, the user in the access log. And what
// they never see: a token.
func TestJWTAuth_OperatorsView(t *testing.T) {
	k := newIDPKey(t, "k1")
	p := startProvider(t, k)
	config := replaced(t, jwtConfig,
		"\troute {", "\tlog\n\troute {",
		"admin {$FAIRWAY_ADMIN}", "admin {$FAIRWAY_ADMIN}\n\tmetrics",
		"\t\t\t}\n\t\t}\n\t\trespond", "\t\t\t}\n\t\t\tscopes all orders\n\t\t}\n\t\trespond")
	g := startGateway(t, config, "JWKS_URL="+p.URL+"/jwks.json")

	ada := p.sign(k, "ada@example.com", jwt.MapClaims{"scope": "orders"})
	api := get(g.url + "/orders")
	eventually(t, "the keys", func() error { return tryStatus(api.as(ada), http.StatusOK) })
	for range 5 {
		api.as(ada).send(t).want(t, http.StatusOK)
	}
	api.send(t).want(t, http.StatusUnauthorized)
	api.as(p.sign(k, "bob", nil)).send(t).want(t, http.StatusForbidden)
	enemies := p.hostile(k)
	for _, token := range enemies {
		api.as(token).send(t).want(t, http.StatusUnauthorized)
	}

	metrics := get(g.admin+"/metrics").send(t).want(t, http.StatusOK).body
	source := p.URL + "/jwks.json"
	for _, line := range []string{
		`fairway_jwt_auth_requests_total{issuer="https://idp.example/",reason="scope"} 1`,
		`fairway_jwt_auth_requests_total{issuer="https://idp.example/",reason="key"} 1`,
		`fairway_jwt_auth_requests_total{issuer="https://idp.example/",reason="expired"} 1`,
		`fairway_jwt_auth_requests_total{issuer="https://idp.example/",reason="audience"} 1`,
		`fairway_jwt_auth_requests_total{issuer="none",reason="issuer"} 1`,
		`fairway_jwt_auth_requests_total{issuer="none",reason="missing"} 1`,
		`fairway_jwt_auth_keys{source="` + source + `"} 1`,
		`fairway_jwt_auth_cache_entries 2`,
		`fairway_jwt_auth_revoked{kind="token"} 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("/metrics has no line %s", line)
		}
	}
	for _, name := range []string{
		`fairway_jwt_auth_requests_total{issuer="https://idp.example/",reason="ok"} `,
		`fairway_jwt_auth_cache_total{result="hit"} `,
		`fairway_jwt_auth_cache_total{result="miss"} `,
		`fairway_jwt_auth_key_fetches_total{result="success",source="` + source + `"} `,
		`fairway_jwt_auth_key_set_age_seconds{source="` + source + `"} `,
		`fairway_jwt_auth_cache_bytes `,
	} {
		if !strings.Contains(metrics, "\n"+name) || strings.Contains(metrics, "\n"+name+"0\n") {
			t.Errorf("/metrics has no line %s with a number above 0", name)
		}
	}

	keys, code := run(t, t.TempDir(), fairway(t), "keys", "--address", strings.TrimPrefix(g.admin, "http://"))
	if code != 0 || !strings.Contains(keys, "https://idp.example/") || !strings.Contains(keys, "k1") || !strings.Contains(keys, source) {
		t.Errorf("fairway keys ended with %d and said:\n%s", code, keys)
	}

	eventually(t, "the user in the access log", func() error {
		if !strings.Contains(g.Log(), `"user_id":"ada@example.com"`) {
			return fmt.Errorf("not in\n%s", g.LogTail(3))
		}
		return nil
	})
	for _, token := range append(enemies, ada) {
		if strings.Contains(g.Log()+metrics+keys, token[strings.LastIndexByte(token, '.')+1:]) {
			t.Error("a token is in the log, the metrics or the output of a command")
		}
	}
}

package http

import (
	"slices"
	"testing"
)

func TestDiscovery_SaysWhereTheKeysAre(t *testing.T) {
	f := onSQLite(t, nil)
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		m := decode[metadata](t, f.want(200, f.do("GET", path, "")))
		if m.Issuer != "https://fairway.example" || m.JWKSURI != "https://fairway.example/.well-known/jwks.json" ||
			!slices.Equal(m.Algorithms, []string{"ES256"}) || !slices.Contains(m.Scopes, "users:admin") {
			t.Errorf("%s answers %+v", path, m)
		}
	}
}

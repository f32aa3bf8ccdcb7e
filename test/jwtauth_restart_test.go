package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// What was revoked stays revoked when the gateway ends, by SIGTERM or by SIGKILL:
// the first request that the next one answers is refused.
func TestJWTAuth_RevocationsOutliveTheGateway(t *testing.T) {
	k := newIDPKey(t, "k1")
	p := startProvider(t, k)
	t.Run("in storage, without Redis", func(t *testing.T) {
		r := startRestarts(t, p, k)
		one, every := r.revoke("ada"), r.revokeAllOf("bob")
		r.Kill()
		r.restart()
		r.refused(one, every...)
		later := r.revoke("eve")
		if err := r.Stop(stopGrace); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.refused(one, append(every, later)...)
	})
	t.Run("in Redis", func(t *testing.T) {
		server := redistest.Start(t)
		r := startRestarts(t, p, k, "REDIS_URL="+server.URL())
		one, every := r.revoke("ada"), r.revokeAllOf("bob")
		r.Kill()
		// Another service revokes while no gateway is there to hear of it.
		missed := r.sign("eve", "missed")
		member := fmt.Sprintf(`["jti",%q,"missed"]`, p.issuer)
		score := float64(time.Now().Add(time.Hour).Unix())
		if err := server.Client().ZAdd(t.Context(), "fairway:jwt:revoked", redis.Z{Score: score, Member: member}).Err(); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.refused(one, append(every, missed)...)
	})
	t.Run("in storage, since Redis ends with the gateway", func(t *testing.T) {
		server := redistest.Start(t)
		r := startRestarts(t, p, k, "REDIS_URL="+server.URL())
		one, every := r.revoke("ada"), r.revokeAllOf("bob")
		r.stored(`\"ada-revoked\"`, `\"bob\"`)
		r.Kill()
		server.Kill()
		r.restart()
		r.refused(one, every...)
		server.Restart() // and has nothing
		eventually(t, "Redis is given what it lacks", func() error {
			if n, err := server.Client().ZCard(t.Context(), "fairway:jwt:revoked").Result(); err != nil || n != 2 {
				return fmt.Errorf("it has %d revocations, %w", n, err)
			}
			return nil
		})
	})
}

// restarts is a gateway that ends and is started again, with its tokens.
type restarts struct {
	*gateway
	t testing.TB
	p *identityProvider
	k *idpKey
	// good is a token that nobody revokes.
	good string
}

func startRestarts(t testing.TB, p *identityProvider, k *idpKey, env ...string) *restarts {
	t.Helper()
	r := &restarts{gateway: startJWTGateway(t, p, k, env...), t: t, p: p, k: k}
	r.good = r.sign("zoe", "good")
	return r
}

// sign makes a token that is a minute old, so that revoking all of its user's
// tokens is about it, whichever second that is in.
func (r *restarts) sign(user, id string) string {
	return r.p.sign(r.k, user, jwt.MapClaims{"jti": id, "iat": time.Now().Add(-time.Minute).Unix()})
}

// revoke returns a token that was good and is revoked by its id.
func (r *restarts) revoke(user string) string {
	r.t.Helper()
	token := r.sign(user, user+"-revoked")
	get(r.url).as(token).send(r.t).want(r.t, http.StatusOK)
	post(r.admin+"/fairway/jwt_auth/revoke", fmt.Sprintf(`{"token":%q}`, token)).send(r.t).want(r.t, http.StatusOK)
	get(r.url).as(token).send(r.t).want(r.t, http.StatusUnauthorized)
	return token
}

// revokeAllOf returns tokens that were good and are revoked by their subject.
func (r *restarts) revokeAllOf(user string) []string {
	r.t.Helper()
	tokens := []string{r.sign(user, user+"-1"), r.sign(user, user+"-2")}
	for _, token := range tokens {
		get(r.url).as(token).send(r.t).want(r.t, http.StatusOK)
	}
	post(r.admin+"/fairway/jwt_auth/revoke", fmt.Sprintf(`{"iss":%q,"sub":%q}`, r.p.issuer, user)).send(r.t).want(r.t, http.StatusOK)
	return tokens
}

// refused fails the test unless the first request is refused, and those with more
// tokens, and only those. A gateway that has just started has no keys yet, for
// which it answers 503.
func (r *restarts) refused(first string, more ...string) {
	r.t.Helper()
	for _, token := range append([]string{first}, more...) {
		eventually(r.t, "an answer", func() error {
			a := get(r.url).as(token).send(r.t)
			if a.status == http.StatusServiceUnavailable {
				return fmt.Errorf("it has no keys: %s", a)
			}
			a.want(r.t, http.StatusUnauthorized).wantHeader(r.t, "WWW-Authenticate", "revoked")
			return nil
		})
	}
	get(r.url).as(r.good).send(r.t).want(r.t, http.StatusOK)
}

// stored waits until the gateway's storage holds all parts.
func (r *restarts) stored(parts ...string) {
	r.t.Helper()
	eventually(r.t, "storage has the revocations", func() error {
		b, err := os.ReadFile(filepath.Join(r.spec.Dir, "caddy", "fairway", "jwt_auth", "revoked.json"))
		for _, part := range parts {
			if err == nil && !strings.Contains(string(b), part) {
				return fmt.Errorf("%s is not in %s", part, b)
			}
		}
		return err
	})
}

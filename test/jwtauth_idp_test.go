package test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The audience of the tokens of an identityProvider.
const idpAudience = "https://api.example.com"

// identityProvider is what an organisation's login is to a gateway: metadata and
// keys at an address, and tokens signed by them.
type identityProvider struct {
	*httptest.Server
	t       testing.TB
	issuer  string
	fetches atomic.Int64

	mu     sync.Mutex
	keys   []*idpKey // published
	broken http.HandlerFunc
}

type idpKey struct {
	id     string
	method jwt.SigningMethod
	crypto.Signer
}

// newProvider makes a provider that listens once its server is started.
func newProvider(t testing.TB) *identityProvider {
	p := &identityProvider{t: t}
	p.Server = httptest.NewUnstartedServer(p)
	t.Cleanup(p.Close)
	return p
}

// startProvider starts one that speaks http, which jwt_auth takes on loopback.
func startProvider(t testing.TB, keys ...*idpKey) *identityProvider {
	p := newProvider(t)
	p.Start()
	p.issuer = "https://idp.example/"
	p.publish(keys...)
	return p
}

func newIDPKey(t testing.TB, id string) *idpKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &idpKey{id, jwt.SigningMethodES256, k}
}

func newRSAKey(t testing.TB, id string) *idpKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &idpKey{id, jwt.SigningMethodRS256, k}
}

// publish replaces the published keys.
func (p *identityProvider) publish(keys ...*idpKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// behave has every request answered like this; nil ends it.
func (p *identityProvider) behave(broken http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = broken
}

func (p *identityProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.fetches.Add(1)
	p.mu.Lock()
	broken, keys := p.broken, p.keys
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case broken != nil:
		broken(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": p.issuer, "jwks_uri": strings.TrimSuffix(p.issuer, "/") + "/jwks.json"})
	case r.URL.Path == "/jwks.json":
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": published(keys)})
	default:
		http.NotFound(w, r)
	}
}

func published(keys []*idpKey) []map[string]string {
	b64 := base64.RawURLEncoding.EncodeToString
	list := []map[string]string{}
	for _, k := range keys {
		jwk := map[string]string{"use": "sig", "alg": k.method.Alg(), "kid": k.id}
		switch public := k.Public().(type) {
		case *rsa.PublicKey:
			jwk["kty"], jwk["n"], jwk["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				panic(err)
			}
			jwk["kty"], jwk["crv"], jwk["x"], jwk["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
		}
		list = append(list, jwk)
	}
	return list
}

var tokenNumber atomic.Int64

// sign makes a token for a user. Changes replace or, if nil, remove claims.
func (p *identityProvider) sign(k *idpKey, user string, changes jwt.MapClaims) string {
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": p.issuer, "aud": idpAudience, "sub": user, "jti": fmt.Sprint(tokenNumber.Add(1)),
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for name, v := range changes {
		claims[name] = v
		if v == nil {
			delete(claims, name)
		}
	}
	t := jwt.NewWithClaims(k.method, claims)
	t.Header["kid"] = k.id
	signed, err := t.SignedString(k.Signer)
	if err != nil {
		panic(err)
	}
	return signed
}

// hostile are tokens that are never good, each for another reason.
func (p *identityProvider) hostile(good *idpKey) []string {
	stranger, impostor := newIDPKey(p.t, "stranger"), newIDPKey(p.t, good.id)
	valid := p.sign(good, "ada", nil)
	return []string{
		p.sign(stranger, "ada", nil),
		p.sign(impostor, "ada", nil),
		p.sign(good, "ada", jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}),
		p.sign(good, "ada", jwt.MapClaims{"aud": "https://elsewhere.example"}),
		p.sign(good, "ada", jwt.MapClaims{"iss": "https://elsewhere.example"}),
		valid[:len(valid)-1],
		valid[:len(valid)-10] + "AAAAAAAAAA",
	}
}

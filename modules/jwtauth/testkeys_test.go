package jwtauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The issuer and audience of test tokens.
const (
	testIssuer   = "https://idp.example"
	testAudience = "fairway"
)

// testKeys are made once: RSA keys take a while.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, otherRSA *rsa.PrivateKey
	ec, otherEC   *ecdsa.PrivateKey
	ec384, ec521  *ecdsa.PrivateKey
	ed            ed25519.PrivateKey
	secret        []byte
},
) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.otherRSA, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.otherEC, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.ec384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	k.ec521, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	k.secret = make([]byte, 64)
	_, err = rand.Read(k.secret)
	must(err)
	return k
})

// signingKey is a private key that fits the algorithm.
func signingKey(alg string) any {
	k := testKeys()
	switch alg {
	case "ES256":
		return k.ec
	case "ES384":
		return k.ec384
	case "ES512":
		return k.ec521
	case "EdDSA":
		return k.ed
	case "HS256", "HS384", "HS512":
		return k.secret
	default:
		return k.rsa
	}
}

// goodClaims are the claims of a token that is accepted now.
func goodClaims(now time.Time) map[string]any {
	return map[string]any{
		"iss": testIssuer, "aud": testAudience, "sub": "user-1", "jti": "token-1",
		"iat": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(),
		"scope": "users:read users:write", "role": "user", "plan": "pro",
	}
}

// with is a copy of claims with some replaced, or removed if nil.
func with(claims, changes map[string]any) map[string]any {
	c := maps.Clone(claims)
	for name, v := range changes {
		if v == nil {
			delete(c, name)
		} else {
			c[name] = v
		}
	}
	return c
}

type testHeader map[string]any

// sign makes a token. The header's alg is that of the signature unless it says
// otherwise.
func sign(tb testing.TB, alg string, key any, header testHeader, claims map[string]any) string {
	tb.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	h := testHeader{"alg": alg, "typ": "JWT"}
	for name, v := range header {
		if v == nil {
			delete(h, name)
		} else {
			h[name] = v
		}
	}
	head, err := json.Marshal(h)
	if err != nil {
		tb.Fatal(err)
	}
	return signRaw(tb, alg, key, head, payload)
}

// signRaw signs any header and payload, however malformed.
func signRaw(tb testing.TB, alg string, key any, header, payload []byte) string {
	tb.Helper()
	input := b64(header) + "." + b64(payload)
	signature, err := jwt.GetSigningMethod(alg).Sign(input, key)
	if err != nil {
		tb.Fatal(err)
	}
	return input + "." + b64(signature)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwkOf is the public key as a JWK.
func jwkOf(kid, alg string, key any) map[string]any {
	j := map[string]any{"use": "sig"}
	if kid != "" {
		j["kid"] = kid
	}
	if alg != "" {
		j["alg"] = alg
	}
	if private, ok := key.(crypto.Signer); ok {
		key = private.Public()
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		j["kty"], j["n"], j["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		size := (len(point) - 1) / 2
		j["kty"], j["crv"], j["x"], j["y"] = "EC", k.Curve.Params().Name, b64(point[1:1+size]), b64(point[1+size:])
	case ed25519.PublicKey:
		j["kty"], j["crv"], j["x"] = "OKP", "Ed25519", b64(k)
	case []byte:
		j["kty"], j["k"] = "oct", b64(k)
	}
	return j
}

// jwks is a key set document.
func jwks(keys ...map[string]any) []byte {
	if keys == nil {
		keys = []map[string]any{}
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return b
}

func publicPEM(tb testing.TB, key crypto.Signer) string {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// verifierFor accepts tokens of testIssuer by the keys of a document.
func verifierFor(tb testing.TB, document []byte, algorithms ...string) *Verifier {
	tb.Helper()
	allowed, err := newAllowlist(algorithms)
	if err != nil {
		tb.Fatal(err)
	}
	keys, problems, err := parseJWKS(document, allowed)
	if err != nil || len(problems) > 0 {
		tb.Fatalf("parsing the key set: %v, %v", err, problems)
	}
	return &Verifier{
		issuers:     []*issuer{newIssuer(testIssuer, allowed, []string{testAudience}, "", fixedKeySet(keys...))},
		leeway:      5000,
		userClaims:  []string{"sub"},
		revocations: newRevocations(),
		cache:       newTokenCache(4 << 20),
	}
}

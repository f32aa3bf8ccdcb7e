package jwtauth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// publicAlgorithms are the public-key algorithms; HMAC is tested by itself.
var publicAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// publicKeySet holds a key for every public-key algorithm, by its family's name.
func publicKeySet() []byte {
	k := testKeys()
	return jwks(jwkOf("rsa", "", k.rsa), jwkOf("p256", "", k.ec), jwkOf("p384", "", k.ec384),
		jwkOf("p521", "", k.ec521), jwkOf("ed", "", k.ed))
}

func TestVerifier_AcceptsEveryAlgorithm(t *testing.T) {
	now := time.Now()
	public := verifierFor(t, publicKeySet(), publicAlgorithms...)
	secret := verifierFor(t, jwks(jwkOf("", "", testKeys().secret)), "HS256", "HS384", "HS512")
	check := func(v *Verifier, alg string) {
		token := sign(t, alg, signingKey(alg), nil, goodClaims(now))
		for _, cached := range []bool{false, true} {
			got := v.Verify(token, now)
			if got.Reason != ReasonOK || got.Cached != cached || got.Caller.ID() != "user-1" {
				t.Errorf("%s: Verify = %+v, want ok with cached=%v", alg, got, cached)
			}
		}
	}
	for _, alg := range publicAlgorithms {
		check(public, alg)
	}
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		check(secret, alg)
	}
}

// attack is a token that must not be accepted.
type attack struct {
	section string // of RFC 8725 unless it names another
	name    string
	token   string
	want    Reason // which check stops it
}

// attacks is the table of attacks by tokens; keyAttacks has those that need a
// weak key.
func attacks(t *testing.T, now time.Time) []attack {
	k := testKeys()
	good := goodClaims(now)
	rs := func(header testHeader, claims map[string]any) string { return sign(t, "RS256", k.rsa, header, claims) }
	claims := func(changes map[string]any) string { return rs(nil, with(good, changes)) }
	payload := func(raw string) string {
		return signRaw(t, "RS256", k.rsa, []byte(`{"alg":"RS256"}`), []byte(raw))
	}
	header := func(raw string) string {
		b, _ := json.Marshal(good)
		return signRaw(t, "RS256", k.rsa, []byte(raw), b)
	}
	valid := rs(nil, good)
	parts := strings.Split(valid, ".")
	members, _ := json.Marshal(good)
	open := strings.TrimSuffix(string(members), "}")
	es := strings.Split(sign(t, "ES256", k.ec, nil, good), ".")
	esSignature, _ := base64.RawURLEncoding.DecodeString(es[2])
	es256 := func(signature []byte) string { return es[0] + "." + es[1] + "." + b64(signature) }
	rsSignature, _ := base64.RawURLEncoding.DecodeString(parts[2])

	return []attack{
		// 2.1 and 3.1: algorithms
		{"2.1, 3.1", "alg none without signature", b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", ReasonMalformed},
		{"2.1, 3.1", "alg none with the old signature", b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + "." + parts[2], ReasonAlgorithm},
		{"2.1, 3.1", "alg NoNe", b64([]byte(`{"alg":"NoNe"}`)) + "." + parts[1] + "." + parts[2], ReasonAlgorithm},
		{"2.1, 3.1", "alg is missing", header(`{"typ":"JWT"}`), ReasonMalformed},
		{"2.1, 3.1", "alg is a list", header(`{"alg":["RS256","none"]}`), ReasonMalformed},
		{"2.1, 3.1", "alg in another case", header(`{"alg":"rs256"}`), ReasonAlgorithm},
		{"2.1, 3.1", "alg with a space", header(`{"alg":"RS256 "}`), ReasonAlgorithm},
		{"3.2", "alg off the list", sign(t, "HS256", k.secret, nil, good), ReasonAlgorithm},
		{"2.1, 3.1", "HMAC by the public key's modulus", sign(t, "HS256", k.rsa.N.Bytes(), nil, good), ReasonAlgorithm},
		{"2.1, 3.1", "HMAC by the public key's PEM", sign(t, "HS256", []byte(publicPEM(t, k.rsa)), nil, good), ReasonAlgorithm},
		{"3.1", "alg of the header is not that of the signature", sign(t, "RS256", k.rsa, testHeader{"alg": "RS512"}, good), ReasonSignature},
		{"3.1", "RS256 signature called PS256", sign(t, "RS256", k.rsa, testHeader{"alg": "PS256"}, good), ReasonSignature},
		{"3.1", "PS256 signature called RS256", sign(t, "PS256", k.rsa, testHeader{"alg": "RS256"}, good), ReasonSignature},
		{"3.1", "ES256 by a key of P-384", sign(t, "RS256", k.rsa, testHeader{"alg": "ES256", "kid": "p384"}, good), ReasonKey},
		{"3.1", "kid of a key of another type", sign(t, "RS256", k.rsa, testHeader{"kid": "p256"}, good), ReasonKey},

		// 3.3 and RFC 7518: signatures
		{"2.1, 3.3", "signed by another key", sign(t, "RS256", k.otherRSA, nil, good), ReasonSignature},
		{"2.1, 3.3", "signed by another key under a good kid", sign(t, "RS256", k.otherRSA, testHeader{"kid": "rsa"}, good), ReasonSignature},
		{"2.1, 3.3", "no signature", parts[0] + "." + parts[1] + ".", ReasonMalformed},
		{"2.1, 3.3", "no signature and no dot", parts[0] + "." + parts[1], ReasonMalformed},
		{"2.1, 3.3", "signature cut by a byte", parts[0] + "." + parts[1] + "." + b64(rsSignature[:255]), ReasonSignature},
		{"2.1, 3.3", "signature with a zero in front", parts[0] + "." + parts[1] + "." + b64(append([]byte{0}, rsSignature...)), ReasonSignature},
		{"2.1, 3.3", "signature plus modulus", parts[0] + "." + parts[1] + "." + b64(new(big.Int).Add(new(big.Int).SetBytes(rsSignature), k.rsa.N).Bytes()), ReasonSignature},
		{"2.1, 3.3", "signature of zeros", parts[0] + "." + parts[1] + "." + b64(make([]byte, 256)), ReasonSignature},
		{"RFC 7518, 3.4", "ECDSA r = s = 0", es256(make([]byte, 64)), ReasonSignature},
		{"RFC 7518, 3.4", "ECDSA in ASN.1", es256(asn1Signature(t, k.ec, es[0]+"."+es[1])), ReasonSignature},
		{"RFC 7518, 3.4", "ECDSA with a byte appended", es256(append(esSignature, 0)), ReasonSignature},
		{"RFC 7518, 3.4", "ECDSA r and s in 66 bytes each", es256(widened(esSignature, 66)), ReasonSignature},
		{"RFC 7518, 3.5", "PSS with an empty salt", pssToken(t, k.rsa, 0, good), ReasonSignature},
		{"RFC 7518, 3.5", "PSS with a salt of 20 bytes", pssToken(t, k.rsa, 20, good), ReasonSignature},
		{"RFC 7518, 3.5", "PSS with the longest salt", pssToken(t, k.rsa, rsa.PSSSaltLengthAuto, good), ReasonSignature},
		{"RFC 8032, 5.1.7", "Ed25519 with s plus the group order", malleatedEd25519(t, good), ReasonSignature},

		// 2.9, 3.10: keys come from the configuration alone
		{"2.9, 3.10", "key in the header (jwk)", sign(t, "RS256", k.otherRSA, testHeader{"jwk": jwkOf("", "", k.otherRSA)}, good), ReasonSignature},
		{"2.9, 3.10", "key set in the header (jku)", sign(t, "RS256", k.otherRSA, testHeader{"jku": "https://evil.example/jwks.json"}, good), ReasonSignature},
		{"2.9, 3.10", "certificate URL in the header (x5u)", sign(t, "RS256", k.otherRSA, testHeader{"x5u": "https://evil.example/cert.pem"}, good), ReasonSignature},
		{"2.9, 3.10", "certificate in the header (x5c)", sign(t, "RS256", k.otherRSA, testHeader{"x5c": []string{"MIIB"}}, good), ReasonSignature},

		// 3.10: nothing in a token is trusted
		{"2.9, 3.10", "kid that is a path", rs(testHeader{"kid": "../../../dev/null"}, good), ReasonKey},
		{"2.9, 3.10", "kid that is SQL", rs(testHeader{"kid": "' OR 1=1 --"}, good), ReasonKey},
		{"2.9, 3.10", "kid that is a number", rs(testHeader{"kid": 1}, good), ReasonMalformed},
		{"2.9, 3.10", "kid that is empty", rs(testHeader{"kid": ""}, good), ReasonKey},
		{"2.9, 3.10", "kid of 600 bytes", rs(testHeader{"kid": strings.Repeat("k", 600)}, good), ReasonMalformed},
		{"3.10", "token of more than 8 KiB", claims(map[string]any{"x": strings.Repeat("x", 8<<10)}), ReasonMalformed},
		{"3.10", "header of arrays 40 deep", header(`{"alg":"RS256","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`), ReasonMalformed},

		// RFC 7515, 4.1.11 and others: extensions
		{"RFC 7515, 4.1.11", "crit with an unknown extension", rs(testHeader{"crit": []string{"x"}, "x": 1}, good), ReasonMalformed},
		{"RFC 7515, 4.1.11", "crit that is empty", rs(testHeader{"crit": []string{}}, good), ReasonMalformed},
		{"RFC 7797, 6", "b64 false", rs(testHeader{"crit": []string{"b64"}, "b64": false}, good), ReasonMalformed},
		{"RFC 7797, 6", "b64 false without crit", rs(testHeader{"b64": false}, good), ReasonMalformed},
		{"2.3, 2.5", "encrypted token", "eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA", ReasonMalformed},
		{"2.4, 3.6", "zip", rs(testHeader{"zip": "DEF"}, good), ReasonMalformed},
		{"2.3, 3.12", "nested token", rs(testHeader{"cty": "JWT"}, good), ReasonMalformed},

		// 2.7, 3.11, 3.12: made for something else
		{"2.7, 3.9", "another audience", claims(map[string]any{"aud": "billing"}), ReasonAudience},
		{"2.7, 3.9", "no audience", claims(map[string]any{"aud": nil}), ReasonAudience},
		{"2.7, 3.9", "audience in another case", claims(map[string]any{"aud": "Fairway"}), ReasonAudience},
		{"2.7, 3.9", "audience of which ours is a prefix", claims(map[string]any{"aud": "fairway-admin"}), ReasonAudience},
		{"2.7, 3.9", "audience that is a number", claims(map[string]any{"aud": 1}), ReasonClaims},
		{"2.7, 3.9", "audience with a number among strings", claims(map[string]any{"aud": []any{"fairway", 1}}), ReasonClaims},
		{"2.7, 3.9", "audience that is an object", claims(map[string]any{"aud": map[string]any{"fairway": true}}), ReasonClaims},
		{"2.8, 3.11, 3.12", "logout token", rs(testHeader{"typ": "logout+jwt"}, good), ReasonType},
		{"2.8, 3.11, 3.12", "security event", rs(testHeader{"typ": "secevent+jwt"}, good), ReasonType},
		{"2.8, 3.11, 3.12", "DPoP proof", rs(testHeader{"typ": "dpop+jwt"}, good), ReasonType},
		{"2.8, 3.11", "typ that is a list", rs(testHeader{"typ": []string{"JWT"}}, good), ReasonMalformed},

		// 3.8: issuer
		{"2.7, 3.8", "another issuer", claims(map[string]any{"iss": "https://evil.example"}), ReasonIssuer},
		{"2.7, 3.8", "no issuer", claims(map[string]any{"iss": nil}), ReasonIssuer},
		{"2.7, 3.8", "issuer with a slash more", claims(map[string]any{"iss": testIssuer + "/"}), ReasonIssuer},
		{"2.7, 3.8", "issuer in another case", claims(map[string]any{"iss": "HTTPS://IDP.EXAMPLE"}), ReasonIssuer},
		{"2.7, 3.8", "issuer that is a list", claims(map[string]any{"iss": []string{testIssuer}}), ReasonIssuer},

		// 2.6, 3.7: JSON and base64 that two readers read differently
		{"2.6", "duplicate claim", payload(open + `,"sub":"admin"}`), ReasonMalformed},
		{"2.6", "duplicate claim, escaped", payload(open + `,"\u0073ub":"admin"}`), ReasonMalformed},
		{"2.6", "duplicate header member", header(`{"alg":"none","alg":"RS256"}`), ReasonMalformed},
		{"2.6", "claims in another case", claims(map[string]any{"sub": nil, "Sub": "admin"}), ReasonClaims},
		{"2.6", "exp in another case", claims(map[string]any{"exp": nil, "EXP": now.Add(time.Hour).Unix()}), ReasonClaims},
		{"2.6", "payload null", payload(`null`), ReasonMalformed},
		{"2.6", "payload that is a list", payload(`[` + string(members) + `]`), ReasonMalformed},
		{"2.6", "payload that is a string", payload(`"x"`), ReasonMalformed},
		{"2.6", "payload that is empty", payload(``), ReasonMalformed},
		{"2.6", "bytes after the payload", payload(string(members) + `{}`), ReasonMalformed},
		{"2.6", "NUL after the payload", payload(string(members) + "\x00"), ReasonMalformed},
		{"2.6", "byte order mark", payload("\xef\xbb\xbf" + string(members)), ReasonMalformed},
		{"2.6, 3.7", "invalid UTF-8", payload(open + ",\"x\":\"\xff\"}"), ReasonMalformed},
		{"2.6, 3.7", "lone surrogate", payload(open + `,"x":"\ud800"}`), ReasonMalformed},
		{"2.6, 3.7", "payload in UTF-16", payload(utf16Of(string(members))), ReasonMalformed},
		{"2.6", "JSON with a comment", payload(open + `/**/}`), ReasonMalformed},
		{"2.6", "number NaN", payload(open + `,"x":NaN}`), ReasonMalformed},
		{"RFC 7515, 2", "base64 with padding", parts[0] + "." + parts[1] + "." + parts[2] + "==", ReasonMalformed},
		{"RFC 7515, 2", "base64 of the other alphabet", parts[0] + "." + parts[1] + "." + base64.RawStdEncoding.EncodeToString([]byte{0xfb, 0xff, 0xfe}), ReasonMalformed},
		{"RFC 7515, 2", "line break in the signature", parts[0] + "." + parts[1] + "." + parts[2][:40] + "\n" + parts[2][40:], ReasonMalformed},
		{"RFC 7515, 2", "line break in the payload", parts[0] + "." + parts[1][:40] + "\r\n" + parts[1][40:] + "." + parts[2], ReasonMalformed},
		{"RFC 7515, 2", "unused bits set", parts[0] + "." + parts[1] + "." + unusedBits(parts[2]), ReasonMalformed},
		{"RFC 7515, 7.2", "JSON serialization", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, ReasonMalformed},
		{"RFC 7515, 3", "four parts", valid + ".AAAA", ReasonMalformed},
		{"RFC 7515, 3", "a dot at the end", valid + ".", ReasonMalformed},
		{"RFC 7515, 3", "empty", "", ReasonMalformed},
		{"RFC 7515, 3", "two dots", "..", ReasonMalformed},

		// RFC 7519, 4.1: times
		{"RFC 7519, 4.1.4", "no exp", claims(map[string]any{"exp": nil}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp 0", claims(map[string]any{"exp": 0}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp that is a string", claims(map[string]any{"exp": "9999999999"}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp 1e300", claims(map[string]any{"exp": json.RawMessage("1e300")}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp 1e400", claims(map[string]any{"exp": json.RawMessage("1e400")}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp of 400 digits", claims(map[string]any{"exp": json.RawMessage(strings.Repeat("9", 400))}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp beyond the year 9999", claims(map[string]any{"exp": json.RawMessage("253402300800")}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp 1e-300", claims(map[string]any{"exp": json.RawMessage("1e-300")}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp below zero", claims(map[string]any{"exp": -1}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp null", payload(strings.Replace(string(members), `"exp":`, `"exp":null,"x":`, 1)), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp that is a list", claims(map[string]any{"exp": []int64{now.Add(time.Hour).Unix()}}), ReasonClaims},
		{"RFC 7519, 4.1.4", "exp true", claims(map[string]any{"exp": true}), ReasonClaims},
		{"RFC 7519, 4.1.4", "expired", claims(map[string]any{"exp": now.Add(-time.Minute).Unix()}), ReasonExpired},
		{"RFC 7519, 4.1.4", "exp in milliseconds", claims(map[string]any{"exp": now.Add(-time.Minute).UnixMilli()}), ReasonClaims},
		{"RFC 7519, 4.1.5", "nbf in the future", claims(map[string]any{"nbf": now.Add(time.Minute).Unix()}), ReasonNotYet},
		{"RFC 7519, 4.1.5", "nbf 1e300", claims(map[string]any{"nbf": json.RawMessage("1e300")}), ReasonClaims},
		{"RFC 7519, 4.1.5", "nbf null", payload(open + `,"nbf":null}`), ReasonClaims},
		{"RFC 7519, 4.1.5", "nbf that is a string", claims(map[string]any{"nbf": "0"}), ReasonClaims},
		{"RFC 7519, 4.1.6", "iat in the future", claims(map[string]any{"iat": now.Add(time.Minute).Unix()}), ReasonNotYet},
		{"RFC 7519, 4.1.6", "iat that is a string", claims(map[string]any{"iat": "now"}), ReasonClaims},
		{"3.8", "no sub", claims(map[string]any{"sub": nil}), ReasonClaims},
		{"3.8", "sub that is empty", claims(map[string]any{"sub": ""}), ReasonClaims},
		{"3.8", "sub that is a number", claims(map[string]any{"sub": 1}), ReasonClaims},
		{"3.8", "sub that is a list", claims(map[string]any{"sub": []string{"user-1"}}), ReasonClaims},
		{"RFC 7519, 4.1.7", "jti that is a number", claims(map[string]any{"jti": 7}), ReasonClaims},
		{"RFC 8693, 4.2", "scope that is an object", claims(map[string]any{"scope": map[string]any{"users:read": 1}}), ReasonClaims},
	}
}

func TestVerifier_Attacks(t *testing.T) {
	now := time.Now()
	for _, attack := range attacks(t, now) {
		v := verifierFor(t, publicKeySet(), publicAlgorithms...)
		for _, again := range []string{"first", "second"} {
			if got := v.Verify(attack.token, now).Reason; got != attack.want {
				t.Errorf("[%s] %s, %s time: got %q, want %q", attack.section, attack.name, again, got, attack.want)
			}
		}
		if n, _ := v.cache.usage(); n != 0 {
			t.Errorf("[%s] %s: the token is in the cache", attack.section, attack.name)
		}
	}
}

// keyAttack is a token that a careless verifier accepts because of a key that an
// issuer published. The key must not be used.
type keyAttack struct {
	section, name string
	keys          []map[string]any
	alg, token    string
}

func keyAttacks(t *testing.T, now time.Time) []keyAttack {
	k, claims := testKeys(), goodClaims(now)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	hs := func(secret []byte) string { return sign(t, "HS256", secret, nil, claims) }
	oct := func(secret []byte) []map[string]any { return []map[string]any{jwkOf("", "", secret)} }
	weak, repeated := []byte("secret"), bytes.Repeat([]byte("a"), 64)
	published := []byte("a-string-secret-at-least-256-bits-long")
	modulus := k.rsa.N.Bytes()
	return []keyAttack{
		{"2.2, 3.5", "secret that is a word", oct(weak), "HS256", hs(weak)},
		{"2.2, 3.5", "secret of 31 bytes", oct(k.secret[:31]), "HS256", hs(k.secret[:31])},
		{"2.2, 3.5", "secret of one byte 64 times", oct(repeated), "HS256", hs(repeated)},
		{"2.2, 3.5", "secret out of a tool's documentation", oct(published), "HS256", hs(published)},
		{"2.2, 3.5", "secret of 32 bytes for HS512", oct(k.secret[:32]), "HS512", sign(t, "HS512", k.secret[:32], nil, claims)},
		{"2.1, 3.1", "secret beside public keys is public", append(oct(modulus), jwkOf("", "", k.rsa)), "HS256", hs(modulus)},
		{"2.1, 3.1", "public key where a secret is due", []map[string]any{jwkOf("", "", k.rsa)}, "HS256", hs(modulus)},
		{"3.2, 3.5", "RSA of 1024 bits", []map[string]any{jwkOf("", "", small)}, "RS256", sign(t, "RS256", small, nil, claims)},
		{"3.4", "RSA exponent 1, under which the message is the signature", []map[string]any{with(jwkOf("", "", k.rsa), map[string]any{"e": "AQ"})}, "RS256", selfSigned(t, k.rsa, claims)},
		{"3.4", "Ed25519 of small order, under which one signature fits all", []map[string]any{with(jwkOf("", "", k.ed), map[string]any{"x": b64(identityPoint)})}, "EdDSA", signedByNobody(t, claims)},
		{"2.5, 3.4", "EC point off the curve", []map[string]any{with(jwkOf("", "", k.ec), map[string]any{"y": jwkOf("", "", k.otherEC)["y"]})}, "ES256", sign(t, "ES256", k.ec, nil, claims)},
		{"2.5, 3.4", "EC key for encryption", []map[string]any{with(jwkOf("", "", k.ec), map[string]any{"use": "enc"})}, "ES256", sign(t, "ES256", k.ec, nil, claims)},
	}
}

// identityPoint is the neutral element of edwards25519.
var identityPoint = append([]byte{1}, make([]byte, 31)...)

// signedByNobody has the signature R = identity, s = 0, which every message has
// under the identity as key.
func signedByNobody(t *testing.T, claims map[string]any) string {
	parts := strings.Split(sign(t, "EdDSA", testKeys().ed, nil, claims), ".")
	signature := append(bytes.Clone(identityPoint), make([]byte, 32)...)
	if !ed25519.Verify(identityPoint, []byte(parts[0]+"."+parts[1]), signature) {
		t.Fatal("crypto/ed25519 refuses it, so the row shows nothing")
	}
	return parts[0] + "." + parts[1] + "." + b64(signature)
}

// selfSigned has as signature its own padded digest (RFC 8017, 9.2), which a
// power of one leaves as it is.
func selfSigned(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	parts := strings.Split(sign(t, "RS256", key, nil, claims), ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	padded := new(big.Int).Exp(new(big.Int).SetBytes(signature), big.NewInt(int64(key.E)), key.N)
	return parts[0] + "." + parts[1] + "." + b64(padded.FillBytes(make([]byte, key.Size())))
}

func TestVerifier_AttacksOnKeys(t *testing.T) {
	now := time.Now()
	for _, attack := range keyAttacks(t, now) {
		allowed, err := newAllowlist([]string{attack.alg})
		if err != nil {
			t.Fatal(err)
		}
		keys, _, err := parseJWKS(jwks(attack.keys...), allowed)
		if err != nil || len(keys) > 0 {
			t.Errorf("[%s] %s: the key is taken (%v)", attack.section, attack.name, err)
		}
		v := verifierOf(t, attack.alg)
		v.issuers[0].keys = fixedKeySet(keys...)
		if got := v.Verify(attack.token, now).Reason; got != ReasonKey {
			t.Errorf("[%s] %s: got %q, want %q", attack.section, attack.name, got, ReasonKey)
		}
	}
}

// Every section of RFC 8725 about threats (2) and best practices (3) has a row.
func TestAttacks_NameEverySectionOfRFC8725(t *testing.T) {
	rows := map[string]int{}
	count := func(sections string) {
		for section := range strings.SplitSeq(sections, ", ") {
			rows[section]++
		}
	}
	for _, attack := range attacks(t, time.Now()) {
		count(attack.section)
	}
	for _, attack := range keyAttacks(t, time.Now()) {
		count(attack.section)
	}
	for chapter, sections := range map[int]int{2: 9, 3: 12} {
		for section := range sections {
			if name := fmt.Sprintf("%d.%d", chapter, section+1); rows[name] == 0 {
				t.Errorf("no row for section %s", name)
			}
		}
	}
}

func asn1Signature(t *testing.T, key *ecdsa.PrivateKey, input string) []byte {
	digest := sha256.Sum256([]byte(input))
	b, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// widened pads r and s with zeros in front.
func widened(signature []byte, size int) []byte {
	half := len(signature) / 2
	pad := make([]byte, size-half)
	out := append(pad[:len(pad):len(pad)], signature[:half]...)
	return append(append(out, pad...), signature[half:]...)
}

func pssToken(t *testing.T, key *rsa.PrivateKey, salt int, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	input := b64([]byte(`{"alg":"PS256"}`)) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	if salt == 0 {
		signature = emptySaltPSS(key, digest[:])
	} else {
		signature, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
	}
	return input + "." + b64(signature)
}

// emptySaltPSS is RSASSA-PSS without a salt (RFC 8017, 9.1.1): crypto/rsa takes
// a salt length of 0 for "as long as possible".
func emptySaltPSS(key *rsa.PrivateKey, digest []byte) []byte {
	size := key.Size()
	hashed := sha256.Sum256(append(make([]byte, 8), digest...))
	db := make([]byte, size-sha256.Size-1)
	db[len(db)-1] = 1
	mask := make([]byte, 0, len(db)+sha256.Size)
	for counter := byte(0); len(mask) < len(db); counter++ {
		block := sha256.Sum256(append(hashed[:], 0, 0, 0, counter))
		mask = append(mask, block[:]...)
	}
	for i := range db {
		db[i] ^= mask[i]
	}
	db[0] &= 0x7f
	em := append(append(db, hashed[:]...), 0xbc)
	s := new(big.Int).Exp(new(big.Int).SetBytes(em), key.D, key.N)
	return s.FillBytes(make([]byte, size))
}

// malleatedEd25519 adds the group order to s, which must not verify again.
func malleatedEd25519(t *testing.T, claims map[string]any) string {
	token := sign(t, "EdDSA", testKeys().ed, nil, claims)
	dot := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		t.Fatal(err)
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := new(big.Int).SetBytes(reversed(signature[32:]))
	copy(signature[32:], reversed(s.Add(s, order).FillBytes(make([]byte, 32))))
	return token[:dot+1] + b64(signature)
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[len(b)-1-i] = b[i]
	}
	return out
}

// unusedBits sets the bits of the last character that carry nothing.
func unusedBits(part string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, part[len(part)-1])
	return part[:len(part)-1] + string(alphabet[last|1])
}

func utf16Of(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteByte(c)
		b.WriteByte(0)
	}
	return b.String()
}

// TestVerifier_EmptySaltIsWellFormed guards the row of the table: a lax verifier
// must take the signature, or the row shows nothing.
func TestVerifier_EmptySaltIsWellFormed(t *testing.T) {
	token := pssToken(t, testKeys().rsa, 0, goodClaims(time.Now()))
	dot := strings.LastIndexByte(token, '.')
	signature, _ := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err := jwt.SigningMethodPS256.Verify(token[:dot], signature, &testKeys().rsa.PublicKey); err != nil {
		t.Errorf("golang-jwt's own PS256 refuses it, too: %v", err)
	}
}

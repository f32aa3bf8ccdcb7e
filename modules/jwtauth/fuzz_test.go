package jwtauth

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"
)

// FuzzParseToken: whatever is parsed is a token in its one canonical form, and
// golang-jwt reads the same out of it.
func FuzzParseToken(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	f.Add(sign(f, "ES256", testKeys().ec, testHeader{"kid": "k"}, goodClaims(now)))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("e30.e30.AA")
	f.Add(b64([]byte(`{"alg":"RS256","crit":["x"]}`)) + "." + b64([]byte(`{"exp":1e300,"a":{"b":[1,2]}}`)) + ".AAAA")
	v := verifierFor(f, publicKeySet(), publicAlgorithms...)
	f.Fuzz(func(t *testing.T, token string) {
		raw, reason := parseToken(token)
		if (raw == nil) != (reason != ReasonOK) {
			t.Fatalf("parseToken = %v, %v", raw, reason)
		}
		if raw != nil {
			comparePartsAndReading(t, raw)
		}
		if got := v.Verify(token, now).Reason; got == ReasonOK {
			if _, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return testKeys().ec.Public(), nil }, jwt.WithTimeFunc(func() time.Time { return now })); err != nil {
				t.Fatalf("accepted, and golang-jwt says %v", err)
			}
		}
	})
}

func comparePartsAndReading(t *testing.T, raw *rawToken) {
	t.Helper()
	parts := strings.Split(raw.text, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	for _, part := range parts {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || b64(b) != part {
			t.Fatalf("part %q is not canonical", part)
		}
	}
	var claims map[string]any
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	dec := json.NewDecoder(strings.NewReader(string(payload)))
	dec.UseNumber()
	if err := dec.Decode(&claims); err != nil {
		t.Fatalf("encoding/json says %v", err)
	}
	ours, _ := json.Marshal(raw.claims)
	theirs, _ := json.Marshal(claims)
	if string(ours) != string(theirs) {
		t.Fatalf("claims %s, encoding/json reads %s", ours, theirs)
	}
	registered, err := decodeClaims(raw.claims)
	if err != nil {
		return
	}
	kept := claim{kind: kindObject, data: string(newRecord(0, registered, raw.claims).claims())}
	if unpacked, _ := json.Marshal(kept.value()); string(unpacked) != string(ours) {
		t.Fatalf("claims %s, kept as %s", ours, unpacked)
	}
}

// FuzzParseJWKS: no document panics, and every key that comes out is strong
// enough and of one of the known types.
func FuzzParseJWKS(f *testing.F) {
	f.Add(publicKeySet())
	f.Add(jwks(jwkOf("s", "HS256", testKeys().secret)))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC"},{"kty":"OKP","crv":"X25519"},null,1]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":""}]}`))
	public, _ := newAllowlist(publicAlgorithms)
	secret, _ := newAllowlist([]string{"HS256"})
	f.Fuzz(func(t *testing.T, document []byte) {
		for _, allowed := range []allowlist{public, secret} {
			keys, _, err := parseJWKS(document, allowed)
			if err != nil && keys != nil {
				t.Fatal("keys in spite of an error")
			}
			for _, k := range keys {
				usable := false
				for _, a := range allowed {
					usable = usable || k.fits(a)
				}
				if !usable || k.print == "" || (k.kty == "oct") != allowed.symmetric() {
					t.Fatalf("useless key %+v", k)
				}
			}
		}
	})
}

// TestVerifier_NoMutationIsAccepted changes valid tokens in every way it can
// think of. Only the very same token is accepted.
func TestVerifier_NoMutationIsAccepted(t *testing.T) {
	now := time.Now()
	v := verifierFor(t, publicKeySet(), publicAlgorithms...)
	valid := map[string]string{}
	for _, alg := range publicAlgorithms {
		valid[alg] = sign(t, alg, signingKey(alg), nil, goodClaims(now))
	}
	rapid.Check(t, func(t *rapid.T) {
		token := valid[rapid.SampledFrom(publicAlgorithms).Draw(t, "alg")]
		mutated := token
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			mutated = mutate(t, mutated)
		}
		v.cache = newTokenCache(1 << 20)
		if rapid.Bool().Draw(t, "cached") {
			v.Verify(token, now)
		}
		if got := v.Verify(mutated, now).Reason; got == ReasonOK && mutated != token {
			t.Fatalf("accepted:\n%s\nmade of\n%s", mutated, token)
		}
	})
}

func mutate(t *rapid.T, token string) string {
	if token == "" {
		return token
	}
	at := rapid.IntRange(0, len(token)-1).Draw(t, "at")
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0: // another character
		c := rapid.SampledFrom([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\x00")).Draw(t, "c")
		return token[:at] + string(c) + token[at+1:]
	case 1: // one less
		return token[:at] + token[at+1:]
	case 2: // one more
		return token[:at] + rapid.StringN(1, 3, 8).Draw(t, "more") + token[at:]
	case 3: // cut
		return token[:at]
	case 4: // another bit in what a part decodes to
		return flipDecoded(t, token)
	case 5: // parts in another order
		parts := strings.Split(token, ".")
		return strings.Join(rapid.Permutation(parts).Draw(t, "order"), ".")
	default: // another claim or header member
		return replaceMember(t, token)
	}
}

func flipDecoded(t *rapid.T, token string) string {
	parts := strings.Split(token, ".")
	i := rapid.IntRange(0, len(parts)-1).Draw(t, "part")
	b, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err != nil || len(b) == 0 {
		return token
	}
	b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	parts[i] = b64(b)
	return strings.Join(parts, ".")
}

func replaceMember(t *rapid.T, token string) string {
	parts := strings.Split(token, ".")
	i := rapid.IntRange(0, min(1, len(parts)-1)).Draw(t, "part")
	b, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err != nil {
		return token
	}
	var members map[string]any
	if json.Unmarshal(b, &members) != nil {
		return token
	}
	name := rapid.SampledFrom([]string{"alg", "kid", "typ", "sub", "exp", "aud", "iss", "role"}).Draw(t, "name")
	members[name] = rapid.SampledFrom([]any{"none", "HS256", "RS256", "", "admin", 9999999999, nil, true}).Draw(t, "value")
	changed, err := json.Marshal(members)
	if err != nil {
		return token
	}
	parts[i] = b64(changed)
	return strings.Join(parts, ".")
}

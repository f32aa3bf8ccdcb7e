package jwtauth

import (
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
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

// FuzzVerify signs whatever header and payload it is given, so that the checks
// behind the signature are reached. What is accepted, golang-jwt's own validation
// accepts, too.
func FuzzVerify(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	claims := func(changes map[string]any) []byte {
		b, _ := json.Marshal(with(goodClaims(now), changes))
		return b
	}
	header := []byte(`{"alg":"HS256","typ":"JWT"}`)
	f.Add(header, claims(nil))
	f.Add([]byte(`{"alg":"HS256","typ":"application/at+jwt","kid":"x","jku":"https://evil.example"}`), claims(map[string]any{"aud": []string{"x", testAudience}}))
	f.Add([]byte(`{"alg":"HS256","crit":["b64"],"b64":false}`), claims(nil))
	f.Add([]byte("{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}"), claims(nil))
	f.Add(header, claims(map[string]any{"exp": json.RawMessage("1.8e9"), "nbf": 0, "iat": json.RawMessage("1799999999.5")}))
	f.Add(header, claims(map[string]any{"exp": json.RawMessage("1e300"), "scp": []string{"a", "b"}, "realm_access": map[string]any{"roles": []any{"x", 1, true, nil}}}))
	f.Add(header, []byte(`{"iss":"https://idp.example","aud":"fairway","sub":"\ud83d\ude00","exp":1900000000,"exp":1}`))
	v := verifierOf(f, "HS256")
	v.cache = nil
	validator := jwt.NewParser(jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithLeeway(6*time.Second),
		jwt.WithIssuer(testIssuer), jwt.WithAudience(testAudience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithValidMethods([]string{"HS256"}))
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		token := signRaw(t, "HS256", testKeys().secret, header, payload)
		d := (&Guard{verifier: v, headers: headerRules{{"X-User-Id", "sub"}}}).judge(v.Verify(token, now))
		if d.Reason != ReasonOK {
			return
		}
		parsed, err := validator.Parse(token, func(*jwt.Token) (any, error) { return testKeys().secret, nil })
		if err != nil {
			t.Fatalf("accepted %s %s, and golang-jwt says %v", header, payload, err)
		}
		if subject, _ := parsed.Claims.GetSubject(); subject != d.Caller.ID() {
			t.Fatalf("of %s it read the subject %q, golang-jwt %q", payload, d.Caller.ID(), subject)
		}
		if strings.ContainsAny(d.Values[0], "\r\n\x00") {
			t.Fatalf("a header field would get %q", d.Values[0])
		}
	})
}

// TestVerifier_NoByteMayChange replaces every character of a token of every
// algorithm in several ways, removes it, puts others before it, and flips every
// bit of what the parts decode to.
func TestVerifier_NoByteMayChange(t *testing.T) {
	now := time.Now()
	algorithms := allAlgorithms()
	if testing.Short() {
		algorithms = []string{"EdDSA", "HS256"}
	}
	for _, alg := range algorithms {
		v := verifierOf(t, alg)
		valid := sign(t, alg, signingKey(alg), nil, goodClaims(now))
		if got := v.Verify(valid, now).Reason; got != ReasonOK {
			t.Fatalf("%s: %v", alg, got)
		}
		tried := 0
		try := func(what string, at int, token string) {
			tried++
			if got := v.Verify(token, now).Reason; got == ReasonOK && token != valid {
				t.Errorf("%s: accepted with %s at %d:\n%s", alg, what, at, token)
			}
		}
		for at := range len(valid) {
			try("a character removed", at, valid[:at]+valid[at+1:])
			try("all after it removed", at, valid[:at])
			try("the next bit in base64", at, valid[:at]+string(valid[at]^1)+valid[at+1:])
			for _, c := range []string{"A", "_", ".", "=", "\n", "%", "\x00"} {
				try("another character", at, valid[:at]+c+valid[at+1:])
				try("a character more", at, valid[:at]+c+valid[at:])
			}
		}
		eachBitFlipped(t, valid, func(at int, token string) { try("a bit flipped", at, token) })
		if n, _ := v.cache.usage(); n != 1 {
			t.Errorf("%s: %d tokens are kept, want the valid one", alg, n)
		}
		if tried < 5000 {
			t.Errorf("%s: only %d mutations", alg, tried)
		}
	}
}

func eachBitFlipped(t *testing.T, token string, try func(at int, token string)) {
	t.Helper()
	parts := strings.Split(token, ".")
	for i, part := range parts {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		for at := range 8 * len(b) {
			b[at/8] ^= 1 << (at % 8)
			changed := slices.Clone(parts)
			changed[i] = b64(b)
			try(at, strings.Join(changed, "."))
			b[at/8] ^= 1 << (at % 8)
		}
	}
}

// The one mutation that changes nothing: with r and s, r and -s is an ECDSA
// signature of the same message, which signers make as often. What it says, and
// that it is revoked, is the same.
func TestVerifier_TwinOfAnECDSASignatureSaysTheSame(t *testing.T) {
	now := time.Now()
	v := verifierOf(t, "ES256")
	valid := sign(t, "ES256", testKeys().ec, nil, goodClaims(now))
	dot := strings.LastIndexByte(valid, '.')
	signature, err := base64.RawURLEncoding.DecodeString(valid[dot+1:])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(testKeys().ec.Params().N, s).FillBytes(signature[32:])
	twin := valid[:dot+1] + b64(signature)
	one, two := v.Verify(valid, now), v.Verify(twin, now)
	if one.Reason != ReasonOK || two.Reason != ReasonOK || *one.Caller != *two.Caller {
		t.Errorf("%v %+v and %v %+v, want the same", one.Reason, one.Caller, two.Reason, two.Caller)
	}
	v.revocations.add(revocation{issuer: testIssuer, jti: "token-1", until: now.Add(time.Hour).Unix()})
	for _, token := range []string{valid, twin} {
		if got := v.Verify(token, now).Reason; got != ReasonRevoked {
			t.Errorf("revoked: %v", got)
		}
	}
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

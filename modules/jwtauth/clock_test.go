package jwtauth

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestVerifier_TimesOnTheEdge(t *testing.T) {
	base := time.Unix(1_800_000_000, 0)
	v := verifierFor(t, publicKeySet(), "ES256")
	v.leeway = 5000
	claims := func(changes map[string]any) string {
		return sign(t, "ES256", testKeys().ec, nil, with(goodClaims(base), changes))
	}
	for _, tc := range []struct {
		name    string
		changes map[string]any
		at      time.Duration
		want    Reason
	}{
		{"a millisecond before exp and leeway", nil, 15*time.Minute + 5*time.Second - time.Millisecond, ReasonOK},
		{"at exp and leeway", nil, 15*time.Minute + 5*time.Second, ReasonExpired},
		{"nbf as far ahead as the leeway", map[string]any{"nbf": base.Unix() + 5}, 0, ReasonOK},
		{"nbf a second further", map[string]any{"nbf": base.Unix() + 6}, 0, ReasonNotYet},
		{"iat as far ahead as the leeway", map[string]any{"iat": base.Unix() + 5}, 0, ReasonOK},
		{"iat a second further", map[string]any{"iat": base.Unix() + 6}, 0, ReasonNotYet},
		{"nbf 0 as some providers write it", map[string]any{"nbf": 0}, 0, ReasonOK},
		{"exp with a fraction", map[string]any{"exp": float64(base.Unix()) + 0.5}, 5400 * time.Millisecond, ReasonOK},
		{"exp with a fraction that has passed", map[string]any{"exp": float64(base.Unix()) + 0.5}, 5500 * time.Millisecond, ReasonExpired},
		{"exp at the end of 9999", map[string]any{"exp": int64(253402300799)}, 0, ReasonOK},
		{"no iat", map[string]any{"iat": nil}, 0, ReasonOK},
	} {
		if got := v.Verify(claims(tc.changes), base.Add(tc.at)).Reason; got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestVerifier_MaxLifetime(t *testing.T) {
	now := time.Now()
	v := verifierFor(t, publicKeySet(), "ES256")
	v.maxLifetime = instant((15 * time.Minute).Milliseconds())
	for name, tc := range map[string]struct {
		changes map[string]any
		want    Reason
	}{
		"just as long":        {nil, ReasonOK},
		"a second longer":     {map[string]any{"exp": now.Unix() + 901}, ReasonLifetime},
		"without iat":         {map[string]any{"iat": nil}, ReasonLifetime},
		"for thousands years": {map[string]any{"exp": int64(253402300799)}, ReasonLifetime},
	} {
		token := sign(t, "ES256", testKeys().ec, nil, with(goodClaims(now), tc.changes))
		if got := v.Verify(token, now).Reason; got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestVerifier_CachedTokenExpiresOnTheDot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := verifierFor(t, publicKeySet(), "ES256")
		v.leeway = 0
		token := tokenBy(t, "ES256", "p256", time.Now(), 10*time.Second)
		for elapsed := range 12 {
			want := ReasonOK
			if elapsed >= 10 {
				want = ReasonExpired
			}
			if got := v.Verify(token, time.Now()); got.Reason != want || got.Cached != (elapsed > 0) {
				t.Errorf("after %d s: %+v, want %v", elapsed, got, want)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestVerifier_RevocationBeatsTheCache(t *testing.T) {
	now := time.Now()
	issue := func(sub, jti string, iat any) string {
		return sign(t, "ES256", testKeys().ec, nil, with(goodClaims(now), map[string]any{"sub": sub, "jti": jti, "iat": iat}))
	}
	until := now.Add(time.Hour).Unix()
	for _, tc := range []struct {
		name    string
		token   string
		revoked revocation
		want    Reason
	}{
		{"this token", issue("u", "a", now.Unix()), revocation{issuer: testIssuer, jti: "a", until: until}, ReasonRevoked},
		{"another token", issue("u", "b", now.Unix()), revocation{issuer: testIssuer, jti: "a", until: until}, ReasonOK},
		{"the same id of another issuer", issue("u", "a", now.Unix()), revocation{issuer: "https://other.example", jti: "a", until: until}, ReasonOK},
		{"a subject's token called like the id", issue("a", "x", now.Unix()), revocation{issuer: testIssuer, jti: "a", until: until}, ReasonOK},
		{"the subject", issue("u", "a", now.Unix()-1), revocation{issuer: testIssuer, sub: "u", before: now.Unix(), until: until}, ReasonRevoked},
		{"the subject, issued in that second", issue("u", "a", now.Unix()), revocation{issuer: testIssuer, sub: "u", before: now.Unix(), until: until}, ReasonRevoked},
		{"the subject, half a second into it", issue("u", "a", float64(now.Unix())-0.5), revocation{issuer: testIssuer, sub: "u", before: now.Unix() - 1, until: until}, ReasonRevoked},
		{"the subject, issued later", issue("u", "a", now.Unix()), revocation{issuer: testIssuer, sub: "u", before: now.Unix() - 1, until: until}, ReasonOK},
		{"the subject, no iat", issue("u", "a", nil), revocation{issuer: testIssuer, sub: "u", before: now.Unix() - 1000, until: until}, ReasonRevoked},
		{"another subject", issue("v", "a", now.Unix()-1), revocation{issuer: testIssuer, sub: "u", before: now.Unix(), until: until}, ReasonOK},
	} {
		v := verifierFor(t, publicKeySet(), "ES256")
		for range 2 {
			if got := v.Verify(tc.token, now).Reason; got != ReasonOK {
				t.Fatalf("%s: before the revocation: %v", tc.name, got)
			}
		}
		v.revocations.add(tc.revoked)
		if got := v.Verify(tc.token, now); got.Reason != tc.want || !got.Cached {
			t.Errorf("%s: %+v, want %v in spite of the cache", tc.name, got, tc.want)
		}
	}
}

func TestRevocations_AreKeptAsLongAsTheTokensLive(t *testing.T) {
	now := time.Now()
	r := newRevocations()
	r.add(revocation{issuer: "i", jti: "a", until: now.Unix()})
	r.add(revocation{issuer: "i", sub: "s", before: 5, until: now.Unix()})
	r.add(revocation{issuer: "i", sub: "s", before: 3, until: now.Unix() + 100}) // neither end may shrink
	r.sweep(now.Add(maxLeeway))
	if tokens, subjects := r.sizes(); tokens != 1 || subjects != 1 {
		t.Errorf("after the longest leeway: %d tokens, %d subjects, want both kept", tokens, subjects)
	}
	if got := r.subjects[party{"i", "s"}]; got != (cutoff{5, now.Unix() + 100}) {
		t.Errorf("cutoff %+v, want the later of both", got)
	}
	r.sweep(now.Add(maxLeeway + 2*time.Second))
	if tokens, subjects := r.sizes(); tokens != 0 || subjects != 1 {
		t.Errorf("a little later: %d tokens, %d subjects, want 0 and 1", tokens, subjects)
	}
}

func TestRevocation_RoundTrip(t *testing.T) {
	for _, r := range []revocation{
		{issuer: "https://idp.example/ä <&>", jti: "a b\"c\n", until: 1},
		{issuer: "i", sub: "u 1", before: 1_800_000_000, until: 1_800_000_900},
	} {
		got, err := parseRevocationMessage(r.message())
		if err != nil || got != r {
			t.Errorf("%s: got %+v, %v", r.message(), got, err)
		}
	}
	for _, bad := range []string{
		"", "1", "x [\"jti\",\"i\",\"a\"]", `1 ["jti","i"]`, `1 ["jti","i",""]`, `1 ["jti","i",5]`, `1 ["sub","i","s"]`,
		`1 ["sub","i","s","5"]`, `1 ["sub","i","",5]`, `1 ["other","i","s",5]`, `1 {}`, `1 null`, `1 ["jti","i","a","b"]`,
	} {
		if got, err := parseRevocationMessage(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

// anyToken is an entry for a cache that is tested by itself.
func anyToken(subject string, expires instant) cachedToken {
	return cachedToken{record: newRecord(0, &registered{Expires: expires}, map[string]any{"sub": subject})}
}

func TestTokenCache_StaysWithinItsBound(t *testing.T) {
	const limit = 4 << 20
	c := newTokenCache(limit)
	now := instantOf(time.Now())
	for i := range 50_000 {
		k := keyOf(fmt.Sprint(i))
		c.put(&k, anyToken("u", now+1000))
		if i%1000 == 0 {
			if _, bytes := c.usage(); bytes > limit {
				t.Fatalf("%d bytes after %d entries, the limit is %d", bytes, i, limit)
			}
		}
	}
	entries, bytes := c.usage()
	if entries < 1000 || bytes < limit*9/10 {
		t.Errorf("%d entries, %d bytes; want the space used", entries, bytes)
	}
	c.sweep(now + 1000)
	if entries, bytes := c.usage(); entries != 0 || bytes != 0 {
		t.Errorf("after all expired: %d entries, %d bytes", entries, bytes)
	}
}

func TestTokenCache_KeepsWhatIsUsed(t *testing.T) {
	c := newTokenCache(1 << 20)
	hot := keyOf("hot")
	entry := anyToken("hot", latest)
	c.put(&hot, entry)
	for i := range 100_000 {
		k := keyOf(fmt.Sprint(i))
		c.put(&k, anyToken("u", latest))
		if got, _ := c.get(&hot); got != entry {
			t.Fatalf("the entry in use was evicted after %d others", i)
		}
	}
}

// Two handlers may share verified tokens while their key sets are refreshed at
// different times.
func TestVerifier_SharedCacheAsksItsOwnKeySet(t *testing.T) {
	now := time.Now()
	old := verifierFor(t, jwks(jwkOf("1", "", testKeys().ec)), "ES256")
	rotated := verifierFor(t, jwks(jwkOf("2", "", testKeys().otherEC)), "ES256")
	same := verifierFor(t, jwks(jwkOf("2", "", testKeys().otherEC), jwkOf("1", "", testKeys().ec)), "ES256")
	rotated.cache, same.cache = old.cache, old.cache
	token := tokenBy(t, "ES256", "1", now, time.Hour)
	for range 2 {
		if got := old.Verify(token, now); got.Reason != ReasonOK {
			t.Fatalf("where the key is: %v", got.Reason)
		}
		if got := rotated.Verify(token, now); got.Reason != ReasonKey {
			t.Errorf("where the key is gone: %v, want key", got.Reason)
		}
		if got := same.Verify(token, now); got.Reason != ReasonOK || !got.Cached {
			t.Errorf("where the key is, read anew: %+v, want ok out of the cache", got)
		}
	}
}

func TestTokenCache_NilTakesNothing(t *testing.T) {
	var c *tokenCache
	k := keyOf("x")
	c.put(&k, anyToken("u", latest))
	c.yield(&k)
	c.sweep(0)
	if _, found := c.get(&k); found {
		t.Error("a nil cache has an entry")
	}
}

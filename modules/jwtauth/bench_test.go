package jwtauth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// cpuTime is the processor time this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports processor time per operation, which a busy machine disturbs
// less than the time on the clock.
func reportCPU(b *testing.B, start time.Duration) {
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
}

// verifierOf accepts one algorithm.
func verifierOf(tb testing.TB, alg string) *Verifier {
	if algorithms[alg].kty == "oct" {
		return verifierFor(tb, jwks(jwkOf("", "", testKeys().secret)), alg)
	}
	return verifierFor(tb, publicKeySet(), alg)
}

// manyTokens are the tokens of distinct users.
func manyTokens(tb testing.TB, alg string, n int) []string {
	now := time.Now()
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = sign(tb, alg, signingKey(alg), nil, with(goodClaims(now), map[string]any{
			"sub": fmt.Sprintf("user-%d", i), "jti": fmt.Sprintf("token-%d", i),
		}))
	}
	return tokens
}

var benchAlgorithms = []string{"HS256", "RS256", "PS256", "ES256", "ES512", "EdDSA"}

func BenchmarkVerifier_Cached(b *testing.B) {
	for _, alg := range benchAlgorithms {
		b.Run("alg="+alg, func(b *testing.B) {
			v := verifierOf(b, alg)
			token := sign(b, alg, signingKey(alg), nil, goodClaims(time.Now()))
			now := time.Now()
			v.Verify(token, now)
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				if got := v.Verify(token, now); got.Reason != ReasonOK || !got.Cached {
					b.Fatal(got)
				}
			}
			reportCPU(b, start)
		})
	}
}

func BenchmarkVerifier_First(b *testing.B) {
	for _, alg := range benchAlgorithms {
		b.Run("alg="+alg, func(b *testing.B) {
			v := verifierOf(b, alg)
			v.cache = nil
			token := sign(b, alg, signingKey(alg), nil, goodClaims(time.Now()))
			now := time.Now()
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				if got := v.Verify(token, now); got.Reason != ReasonOK {
					b.Fatal(got)
				}
			}
			reportCPU(b, start)
		})
	}
}

// BenchmarkGuard_Decide is the whole decision, with scopes, a claim, a header
// and 1,000 revocations, for 10,000 users in turn.
func BenchmarkGuard_Decide(b *testing.B) {
	h := newHandler(b, fileIssuer(b)+"scopes all users:read\nclaim role in user admin\nheader X-User-ID sub")
	for i := range 1000 {
		h.engine.store.add(revocation{issuer: testIssuer, jti: fmt.Sprint(i), until: time.Now().Add(time.Hour).Unix()})
	}
	tokens := manyTokens(b, "ES256", 10_000)
	fields := make([]http.Header, len(tokens))
	now := time.Now()
	for i, token := range tokens {
		fields[i] = http.Header{"Authorization": {"Bearer " + token}}
		h.engine.guard.Decide(fields[i], "", now)
	}
	i := 0
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		if d := h.engine.guard.Decide(fields[i%len(fields)], "", now); d.Reason != ReasonOK || !d.Cached {
			b.Fatal(d)
		}
		i++
	}
	reportCPU(b, start)
}

// BenchmarkHandler_ServeHTTP adds what the handler does for Caddy: counting,
// stripping, placeholders, the identity. Without is what Caddy needs by itself
// to prepare such a request.
func BenchmarkHandler_ServeHTTP(b *testing.B) {
	h := newHandler(b, fileIssuer(b)+"header X-User-ID sub")
	token := sign(b, "RS256", testKeys().rsa, nil, goodClaims(time.Now()))
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	ask(h, request(token))
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request, caddyhttp.Handler) error{
		"with": h.ServeHTTP,
		"without": func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
			return next.ServeHTTP(w, r)
		},
	} {
		b.Run(name, func(b *testing.B) {
			w, r := httptest.NewRecorder(), request(token)
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				if err := serve(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), next); err != nil {
					b.Fatal(err)
				}
			}
			reportCPU(b, start)
		})
	}
}

func TestVerifier_CachedAllocatesLittle(t *testing.T) {
	for _, alg := range benchAlgorithms {
		v := verifierOf(t, alg)
		token, now := sign(t, alg, signingKey(alg), nil, goodClaims(time.Now())), time.Now()
		v.Verify(token, now)
		if n := testing.AllocsPerRun(100, func() { v.Verify(token, now) }); n > 1 {
			t.Errorf("%s: %v allocations, want 1 (the caller)", alg, n)
		}
	}
	h := newHandler(t, fileIssuer(t)+"scopes any users:read\nclaim role in user\nheader X-User-ID sub")
	fields := http.Header{"Authorization": {"Bearer " + sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now()))}}
	now := time.Now()
	h.engine.guard.Decide(fields, "", now)
	if n := testing.AllocsPerRun(100, func() { h.engine.guard.Decide(fields, "", now) }); n > 2 {
		t.Errorf("a whole decision: %v allocations, want 2 (the caller and the header values)", n)
	}
}

// TestTokenCache_MemoryIsWhatItSays fills the cache with ten times as many
// tokens as fit and compares the heap with the bound.
func TestTokenCache_MemoryIsWhatItSays(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a few seconds")
	}
	const limit = 8 << 20
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	now := time.Now()
	before := heap()
	c := newTokenCache(limit)
	var peak int64
	for i := range 60_000 {
		claims, err := decodeObject(fmt.Appendf(nil, `{"iss":%q,"aud":%q,"sub":"user-%d","jti":"token-%d","iat":%d,"exp":%d,"scope":"users:read users:write","role":"user","plan":"pro"}`,
			testIssuer, testAudience, i, i, now.Unix(), now.Add(time.Hour).Unix()))
		if err != nil {
			t.Fatal(err)
		}
		r, err := decodeClaims(claims)
		if err != nil {
			t.Fatal(err)
		}
		k := keyOf(fmt.Sprint("token", i))
		c.put(&k, cachedToken{record: newRecord(0, r, claims)})
		if i%10_000 == 9_999 {
			peak = max(peak, heap()-before)
		}
	}
	entries, bytes := c.usage()
	t.Logf("%d entries, %d bytes by count, %d on the heap: %d per entry", entries, bytes, peak, peak/int64(entries))
	if bytes > limit || peak > limit*11/10 {
		t.Errorf("heap grew by %d, counted are %d, the limit is %d", peak, bytes, limit)
	}
	if peak < limit/2 {
		t.Errorf("heap grew by %d only: the estimate wastes more than half of %d", peak, limit)
	}
}

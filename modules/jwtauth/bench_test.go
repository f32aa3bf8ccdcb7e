package jwtauth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/test/process"
)

// reportCPU reports processor time per operation, which a busy machine disturbs
// less than the time on the clock.
func reportCPU(b *testing.B, start time.Duration) {
	b.ReportMetric(float64(process.SelfCPU()-start)/float64(b.N), "cpu-ns/op")
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
			start := process.SelfCPU()
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
			start := process.SelfCPU()
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
	ask(h, request(tokens[0])) // waits for the keys
	for i, token := range tokens {
		fields[i] = http.Header{"Authorization": {"Bearer " + token}}
		h.engine.guard.Decide(fields[i], "", now)
	}
	i := 0
	b.ReportAllocs()
	start := process.SelfCPU()
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
			start := process.SelfCPU()
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
	token, now := sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now())), time.Now()
	fields := http.Header{"Authorization": {"Bearer " + token}}
	if a := ask(h, request(token)); a.status != http.StatusOK { // waits for the keys
		t.Fatal(a.status)
	}
	if n := testing.AllocsPerRun(100, func() { h.engine.guard.Decide(fields, "", now) }); n > 2 {
		t.Errorf("a whole decision: %v allocations, want 2 (the caller and the header values)", n)
	}
}

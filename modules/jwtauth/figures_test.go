package jwtauth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/test/process"
)

// The figures that `make bench` prints. They measure once, whatever b.N is.

// cost runs a function n times and returns processor time and allocations of one
// run.
func cost(n int, run func()) (cpu time.Duration, allocations float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := process.SelfCPU()
	for range n {
		run()
	}
	cpu = (process.SelfCPU() - start) / time.Duration(n)
	runtime.ReadMemStats(&after)
	return cpu, float64(after.Mallocs-before.Mallocs) / float64(n)
}

func short(tiny, full int) int {
	if testing.Short() {
		return tiny
	}
	return full
}

// allAlgorithms are those that an issuer may use.
func allAlgorithms() []string { return strings.Fields(algorithmNames()) }

// BenchmarkFigure_CachedVerification is the whole decision about a request whose
// token was verified before, with scopes, a claim and a header field to set,
// beside the first decision about it. Target: 2 µs and 2 allocations.
func BenchmarkFigure_CachedVerification(b *testing.B) {
	rules := policy{scopes: ScopeRule{Any: []string{"users:read"}}, claims: []ClaimRule{{Claim: "role", In: []string{"user"}}}}
	for _, alg := range allAlgorithms() {
		b.Run(alg, func(b *testing.B) {
			v, now := verifierOf(b, alg), time.Now()
			g := &Guard{verifier: v, sources: defaultSources, policy: rules, headers: headerRules{{"X-User-Id", "sub"}}, challenges: new(challenges)}
			fields := http.Header{"Authorization": {"Bearer " + sign(b, alg, signingKey(alg), nil, goodClaims(now))}}
			decide := func() {
				if d := g.Decide(fields, "", now); d.Reason != ReasonOK {
					b.Fatal(alg, d.Reason)
				}
			}
			v.cache = nil
			first, _ := cost(short(5, 200), decide)
			v.cache = newTokenCache(1 << 20)
			decide()
			cached, allocations := cost(short(1000, 300_000), decide)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(first)/1e3, "first-µs-CPU")
			b.ReportMetric(float64(cached)/1e3, "cached-µs-CPU")
			b.ReportMetric(allocations, "cached-allocs")
			b.ReportMetric(2, "target-at-most")
		})
	}
}

// BenchmarkFigure_UnknownKids sends 1,000 tokens a second, each of another key
// id that nobody knows. Target: one fetch of the key set per interval, and good
// tokens as fast as beside as many requests without a token.
func BenchmarkFigure_UnknownKids(b *testing.B) {
	const interval = time.Second
	s := newKeyServer(b)
	h := newHandler(b, fmt.Sprintf("issuer %s {\njwks_url %s/jwks.json\nalgorithms RS256\naudience %s\nmin_refresh %s\n}\n", testIssuer, s.URL, testAudience, interval))
	good := manyTokens(b, "RS256", 100)
	for _, token := range good {
		if a := ask(h, request(token)); a.status != http.StatusOK {
			b.Fatal(a.status)
		}
	}
	rest := good[0][strings.IndexByte(good[0], '.'):]
	var kid atomic.Int64
	table := []string{fmt.Sprintf("%-32s %9s %9s %9s %8s", "latency of good tokens beside", "p50", "p99", "decisions", "fetches")}
	for _, beside := range []struct {
		name string
		rate time.Duration // between two requests
		next func() string
	}{
		{"nothing", 0, nil},
		{"1,000 requests/s without a token", time.Millisecond, func() string { return "" }},
		{"1,000 unknown kids/s", time.Millisecond, func() string {
			return b64(fmt.Appendf(nil, `{"alg":"RS256","kid":"bogus-%d"}`, kid.Add(1))) + rest
		}},
	} {
		length := time.Duration(short(1, 6)) * time.Second / 2
		before := s.fetches.Load()
		stop := flood(b, h, beside.rate, beside.next)
		took := latencies(b, h, good, length)
		stop()
		fetches := s.fetches.Load() - before
		if most := int64(length/interval) + 2; fetches > most {
			b.Errorf("%s: %d fetches in %v, want at most %d", beside.name, fetches, length, most)
		}
		table = append(table, fmt.Sprintf("%-32s %9v %9v %9d %8s", beside.name,
			took[len(took)/2], took[len(took)*99/100], len(took), fmt.Sprintf("%d in %v", fetches, length)))
	}
	b.Logf("%d unknown kids; target: a fetch per interval of %v, no added latency\n%s", kid.Load(), interval, strings.Join(table, "\n"))
}

// flood sends what next returns, one request each time, until it is stopped. No
// answer may be good.
func flood(b *testing.B, h *Handler, pause time.Duration, next func() string) (stop func()) {
	done := make(chan struct{})
	var requests sync.WaitGroup
	if next != nil {
		requests.Go(func() {
			ticker := time.NewTicker(pause)
			defer ticker.Stop()
			for {
				select {
				case <-done:
					return
				case <-ticker.C:
				}
				requests.Go(func() {
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					if token := next(); token != "" {
						r = request(token)
					}
					if a := ask(h, r); a.status != http.StatusUnauthorized {
						b.Errorf("a bad request was answered %d", a.status)
					}
				})
			}
		})
	}
	return func() { close(done); requests.Wait() }
}

// latencies are those of decisions about good tokens, sorted.
func latencies(b *testing.B, h *Handler, tokens []string, length time.Duration) []time.Duration {
	var took []time.Duration
	for end, i := time.Now().Add(length), 0; time.Now().Before(end); i++ {
		r := request(tokens[i%len(tokens)])
		start := time.Now()
		d := h.engine.decide(r)
		took = append(took, time.Since(start))
		if d.Reason != ReasonOK {
			b.Fatalf("a good token was refused: %v", d.Reason)
		}
		time.Sleep(200 * time.Microsecond)
	}
	slices.Sort(took)
	return took
}

// BenchmarkFigure_TokenMemory sends the tokens of a million users through caches
// of several sizes and compares the heap with what was configured.
func BenchmarkFigure_TokenMemory(b *testing.B) {
	users := short(20_000, 1_000_000)
	table := []string{fmt.Sprintf("%12s %12s %12s %9s %12s", "configured", "counted", "heap", "kept", "bytes each")}
	for _, limit := range []int64{int64(short(4<<20, 64<<20)), int64(short(8<<20, 512<<20))} {
		m := fillCache(b, limit, users)
		table = append(table, fmt.Sprintf("%8d MiB %8.1f MiB %8.1f MiB %9d %12d",
			limit>>20, float64(m.counted)/(1<<20), float64(m.peak)/(1<<20), m.entries, m.heap/int64(m.entries)))
		if m.peak > limit {
			b.Errorf("the heap grew by %d bytes, configured are %d", m.peak, limit)
		}
	}
	b.Logf("the cache after %d distinct tokens; target: the heap within the configured size at all times\n%s", users, strings.Join(table, "\n"))
}

// cacheMemory is what a cache holds after many tokens went through.
type cacheMemory struct {
	entries       int
	counted, heap int64
	peak          int64 // of the heap, while it was filled
}

// fillCache verifies tokens of distinct users. They are signed by HMAC, because
// that is quick; what is kept is the same for all algorithms.
func fillCache(tb testing.TB, limit int64, users int) (m cacheMemory) {
	v := verifierOf(tb, "HS256")
	secret, now := testKeys().secret, time.Now()
	before := heap()
	v.cache = newTokenCache(limit)
	const parts = 20
	for part := range parts {
		var senders sync.WaitGroup
		for at := range runtime.GOMAXPROCS(0) {
			senders.Go(func() {
				for i := part*users/parts + at; i < (part+1)*users/parts; i += runtime.GOMAXPROCS(0) {
					token := sign(tb, "HS256", secret, nil, with(goodClaims(now), map[string]any{
						"sub": fmt.Sprintf("user-%d", i), "jti": fmt.Sprintf("token-%d", i),
					}))
					if got := v.Verify(token, now); got.Reason != ReasonOK || got.Cached {
						tb.Errorf("user %d: %v", i, got)
					}
				}
			})
		}
		senders.Wait()
		m.heap = heap() - before
		m.peak = max(m.peak, m.heap)
	}
	m.entries, m.counted = v.cache.usage()
	return m
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestTokenCache_MemoryIsWhatItSays fills caches with several times as many
// tokens as fit and compares the heap with the bound.
func TestTokenCache_MemoryIsWhatItSays(t *testing.T) {
	for _, limit := range []int64{1 << 20, 3 << 20} {
		m := fillCache(t, limit, int(limit/150))
		t.Logf("limit %d: %+v, %d per entry", limit, m, m.heap/int64(m.entries))
		if m.counted > limit || m.peak > limit {
			t.Errorf("heap grew by %d, counted are %d, the limit is %d", m.peak, m.counted, limit)
		}
		if m.peak < limit/2 {
			t.Errorf("heap grew by %d only: the estimate wastes more than half of %d", m.peak, limit)
		}
	}
}

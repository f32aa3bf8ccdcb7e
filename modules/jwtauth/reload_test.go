package jwtauth

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A reload provisions the new instance before it cleans up the old one.
func TestReload_KeepsKeysAndVerifiedTokens(t *testing.T) {
	s := newKeyServer(t)
	storage, block := t.TempDir(), s.block("")
	old, err := startHandler(t, newContext(t, storage, ""), block)
	if err != nil {
		t.Fatal(err)
	}
	token := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
	if a := ask(old, request(token)); a.status != 200 {
		t.Fatalf("before: %d", a.status)
	}
	s.Close() // what is kept cannot be fetched again
	for i := range 3 {
		// Other rules of the handler leave keys and tokens alone.
		next, err := startHandler(t, newContext(t, storage, ""), block+strings.Repeat("require sub\n", i%2))
		if err != nil {
			t.Fatal(err)
		}
		if err := old.Cleanup(); err != nil {
			t.Fatal(err)
		}
		old = next
		if d := old.engine.decide(request(token)); d.Reason != ReasonOK || !d.Cached {
			t.Fatalf("reload %d: %+v, want ok out of the cache", i, d)
		}
	}
	// Another cadence is another refresher, with the same keys to begin with.
	next, err := startHandler(t, newContext(t, storage, ""), strings.Replace(block, "refresh 1s", "refresh 2s", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if a := ask(next, request(tokenBy(t, "EdDSA", "ed", time.Now(), time.Hour))); a.status != 200 {
		t.Errorf("after a change of refresh: %d", a.status)
	}
	if err := next.Cleanup(); err != nil {
		t.Fatal(err)
	}
	empty := func(name string, pool interface{ Range(func(k, v any) bool) }) {
		pool.Range(func(k, _ any) bool {
			t.Errorf("%s still holds %v", name, k)
			return true
		})
	}
	empty("keySetPool", keySetPool)
	empty("cachePool", cachePool)
	empty("storePool", storePool)
}

func TestReload_RejectedConfigChangesNothing(t *testing.T) {
	s := newKeyServer(t)
	storage, block := t.TempDir(), s.block("")
	live, err := startHandler(t, newContext(t, storage, ""), block)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := live.Cleanup(); err != nil {
			t.Error(err)
		}
	}()
	token := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
	if a := ask(live, request(token)); a.status != 200 {
		t.Fatalf("before: %d", a.status)
	}
	for _, bad := range []string{
		block + "header Host sub",
		block + "issuer x {\nkey short\nalgorithms HS256\naudience a\n}",
		block + "issuer x {\njwks_file /nowhere\nalgorithms RS256\naudience a\n}",
		block + "scopes all \"\"",
	} {
		rejected, err := startHandler(t, newContext(t, storage, ""), bad)
		if err == nil {
			t.Fatalf("%q is accepted", bad)
		}
		if err := rejected.Cleanup(); err != nil { // Caddy does so
			t.Error(err)
		}
		if d := live.engine.decide(request(token)); d.Reason != ReasonOK || !d.Cached {
			t.Errorf("after %q: %+v, want ok out of the cache", err, d)
		}
	}
	s.Close()
}

// Ten reloads under load, and before each one that is rejected: no wrong
// decision.
func TestReload_UnderLoadLosesNoRequestAndNoRevocation(t *testing.T) {
	s := newKeyServer(t)
	storage, block := t.TempDir(), s.block("")
	first, err := startHandler(t, newContext(t, storage, ""), block)
	if err != nil {
		t.Fatal(err)
	}
	var live atomic.Pointer[Handler]
	live.Store(first)
	good := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
	bad := sign(t, "ES256", testKeys().ec, nil, with(goodClaims(time.Now()), map[string]any{"jti": "bad"}))
	if ask(first, request(good)).status != 200 || ask(first, request(bad)).status != 200 {
		t.Fatal("before: good tokens are refused")
	}
	n := node{first, newContext(t, storage, "")}
	if _, err := n.engine.store.revoke(t.Context(), revocation{issuer: testIssuer, jti: "bad", until: time.Now().Add(time.Hour).Unix()}); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wrong atomic.Int64
	var traffic sync.WaitGroup
	var inFlight sync.RWMutex
	endRequests := func() {
		inFlight.Lock()
		defer inFlight.Unlock()
	}
	for range 2 {
		traffic.Go(func() {
			for i := 0; !stop.Load(); i++ {
				inFlight.RLock()
				h := live.Load()
				fresh := sign(t, "ES256", testKeys().ec, nil, with(goodClaims(time.Now()), map[string]any{"jti": fmt.Sprint(i)}))
				if ask(h, request(good)).status != 200 || ask(h, request(fresh)).status != 200 || ask(h, request(bad)).status != 401 {
					wrong.Add(1)
				}
				inFlight.RUnlock()
			}
		})
	}
	for range 10 {
		rejected, err := startHandler(t, newContext(t, storage, ""), block+"header Host sub")
		if err == nil {
			t.Fatal("a header that cannot carry a claim is accepted")
		}
		if err := rejected.Cleanup(); err != nil { // Caddy does so
			t.Error(err)
		}
		next, err := startHandler(t, newContext(t, storage, ""), block)
		if err != nil {
			t.Fatal(err)
		}
		old := live.Swap(next)
		endRequests() // those of the old config
		if err := old.Cleanup(); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	traffic.Wait()
	if err := live.Load().Cleanup(); err != nil {
		t.Error(err)
	}
	if wrong.Load() > 0 {
		t.Errorf("%d wrong decisions", wrong.Load())
	}
}

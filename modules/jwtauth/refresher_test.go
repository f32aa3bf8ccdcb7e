package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// fakeSource answers fetches with what the test says. It is used inside
// synctest bubbles, where there is no network.
type fakeSource struct {
	mu       sync.Mutex
	body     []byte
	err      error
	lifetime time.Duration
	takes    time.Duration
	fetches  []time.Time
}

func (f *fakeSource) String() string { return "https://idp.example/jwks.json" }
func (f *fakeSource) forget()        {}

func (f *fakeSource) fetch(ctx context.Context) (document, error) {
	f.mu.Lock()
	f.fetches = append(f.fetches, time.Now())
	body, err, lifetime, takes := f.body, f.err, f.lifetime, f.takes
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return document{}, ctx.Err()
	}
	return document{body: body, lifetime: lifetime}, err
}

func (f *fakeSource) set(change func(*fakeSource)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// starts are the times of fetches since the first.
func (f *fakeSource) starts() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []time.Duration
	for _, at := range f.fetches {
		list = append(list, at.Sub(f.fetches[0]))
	}
	return list
}

var testCadence = cadence{
	refresh: 10 * time.Minute, minRefresh: 10 * time.Second, maxStale: time.Hour, timeout: 5 * time.Second,
}

// refreshed is a verifier whose only issuer has its keys from the source.
func refreshed(t *testing.T, src source, c cadence) *Verifier {
	t.Helper()
	allowed, err := newAllowlist([]string{"ES256", "EdDSA"})
	if err != nil {
		t.Fatal(err)
	}
	keys := &keySet{refresher: &refresher{
		source: src, label: "test", allowed: allowed, cadence: c,
		logger: zap.NewNop(), metrics: newFetchMetrics("test"),
	}}
	keys.refresher.set = keys
	keys.refresher.start()
	t.Cleanup(keys.refresher.stop)
	return &Verifier{
		issuers:     []*issuer{newIssuer(testIssuer, allowed, nil, "", keys)},
		userClaims:  []string{"sub"},
		revocations: newRevocations(),
		cache:       newTokenCache(4 << 20),
	}
}

func tokenBy(tb testing.TB, alg, kid string, now time.Time, life time.Duration) string {
	return sign(tb, alg, signingKey(alg), testHeader{"kid": kid}, with(goodClaims(now), map[string]any{"exp": now.Add(life).Unix()}))
}

func TestRefresher_KeepsToTheServersTimeWithinBounds(t *testing.T) {
	for _, tc := range []struct {
		name     string
		lifetime time.Duration
		want     time.Duration
	}{
		{"not said", -1, 10 * time.Minute},
		{"two minutes", 2 * time.Minute, 2 * time.Minute},
		{"longer than refresh", time.Hour, 10 * time.Minute},
		{"no-store", 0, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			src := &fakeSource{body: publicKeySet(), lifetime: tc.lifetime}
			refreshed(t, src, testCadence)
			time.Sleep(tc.want + tc.want/8) // a jitter of up to a tenth
			got := src.starts()
			if len(got) != 2 || got[1] < tc.want || got[1] > tc.want+tc.want/10 {
				t.Errorf("%s: fetches at %v, want the second at %v", tc.name, got, tc.want)
			}
		})
	}
}

func TestRefresher_OutageKeepsTheLastGoodKeysUntilMaxStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{body: publicKeySet(), lifetime: -1}
		v := refreshed(t, src, testCadence)
		token := tokenBy(t, "ES256", "p256", time.Now(), 24*time.Hour)
		synctest.Wait()
		src.set(func(f *fakeSource) { f.err = errors.New("down") })
		for elapsed := time.Duration(0); elapsed < 59*time.Minute; elapsed += time.Minute {
			v.cache = newTokenCache(1 << 20) // verify anew each time
			if got := v.Verify(token, time.Now()).Reason; got != ReasonOK {
				t.Fatalf("after %v: %v, want ok", elapsed, got)
			}
			time.Sleep(time.Minute)
		}
		if n := len(src.starts()); n < 4 || n > 16 {
			t.Errorf("%d fetches in an hour of outage; want some, with growing pauses", n)
		}
		time.Sleep(2 * time.Minute)
		for range 2 { // the second would come from the cache
			if got := v.Verify(token, time.Now()).Reason; got != ReasonUnavailable {
				t.Errorf("after max_stale: %v, want unavailable", got)
			}
		}
		src.set(func(f *fakeSource) { f.err = nil })
		time.Sleep(11 * time.Minute)
		if got := v.Verify(token, time.Now()).Reason; got != ReasonOK {
			t.Errorf("after recovery: %v, want ok", got)
		}
	})
}

func TestRefresher_UnavailableOnlyUntilTheFirstSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{err: errors.New("down"), lifetime: -1}
		v := refreshed(t, src, testCadence)
		token := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
		synctest.Wait()
		verdict := v.Verify(token, time.Now())
		if verdict.Reason != ReasonUnavailable {
			t.Errorf("before the first success: %v, want unavailable", verdict.Reason)
		}
		time.Sleep(4 * time.Second)
		if got := len(src.starts()); got != 3 {
			t.Errorf("%d fetches in the first 4 s, want 3 (at 0, 1 and 3 s)", got)
		}
		src.set(func(f *fakeSource) { f.err, f.body = nil, jwks() })
		time.Sleep(5 * time.Second)
		if got := v.Verify(token, time.Now()).Reason; got != ReasonKey {
			t.Errorf("with an empty set: %v, want key", got)
		}
	})
}

func TestRefresher_EmptySetNeverWipesGoodKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{body: publicKeySet(), lifetime: -1}
		v := refreshed(t, src, testCadence)
		token := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
		synctest.Wait()
		for _, body := range []string{`{"keys":[]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `<html>`, ``, `{}`, `null`, `{"keys":{}}`} {
			src.set(func(f *fakeSource) { f.body = []byte(body) })
			time.Sleep(11 * time.Minute)
			v.cache = newTokenCache(1 << 20)
			if got := v.Verify(token, time.Now().Add(-20*time.Minute)).Reason; body != "" && got != ReasonOK && got != ReasonNotYet && got != ReasonExpired {
				t.Errorf("after %q: %v, want the good keys kept", body, got)
			}
			if v.issuers[0].keys.count() == 0 {
				t.Errorf("%q wiped the keys", body)
			}
		}
	})
}

func TestRefresher_RotatedOutKeyIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{body: publicKeySet(), lifetime: -1}
		v := refreshed(t, src, testCadence)
		out := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
		stays := tokenBy(t, "EdDSA", "ed", time.Now(), time.Hour)
		synctest.Wait()
		for range 2 {
			for _, token := range []string{out, stays} {
				if got := v.Verify(token, time.Now()).Reason; got != ReasonOK {
					t.Fatalf("before the rotation: %v", got)
				}
			}
		}
		src.set(func(f *fakeSource) {
			f.body = jwks(jwkOf("ed", "", testKeys().ed), jwkOf("new", "", testKeys().otherEC))
		})
		time.Sleep(12 * time.Minute)
		if got := v.Verify(out, time.Now()); got.Reason != ReasonKey || got.Cached {
			t.Errorf("the key that is gone: %+v, want key", got)
		}
		if got := v.Verify(stays, time.Now()); got.Reason != ReasonOK || !got.Cached {
			t.Errorf("the key that stays: %+v, want ok out of the cache", got)
		}
	})
}

// A rotation where no kid says which key signed: a signature that no key fits asks
// for a fetch, as an unknown kid does. A kid that is known does not.
func TestRefresher_RotationWithoutKIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{body: jwks(jwkOf("", "", testKeys().ec)), lifetime: -1, takes: 50 * time.Millisecond}
		v := refreshed(t, src, testCadence)
		time.Sleep(time.Minute)
		src.set(func(f *fakeSource) { f.body = jwks(jwkOf("", "", testKeys().otherEC)) })
		token := sign(t, "ES256", testKeys().otherEC, testHeader{}, goodClaims(time.Now()))
		verdict := v.Verify(token, time.Now())
		if verdict.Reason != ReasonSignature || verdict.Retry == nil {
			t.Fatalf("got %+v, want signature and something to wait for", verdict)
		}
		<-verdict.Retry
		if got := v.Verify(token, time.Now()).Reason; got != ReasonOK {
			t.Errorf("after the fetch: %v", got)
		}

		src.set(func(f *fakeSource) { f.body = jwks(jwkOf("1", "", testKeys().ec)) })
		time.Sleep(12 * time.Minute)
		forged := sign(t, "ES256", testKeys().otherEC, testHeader{"kid": "1"}, goodClaims(time.Now()))
		if got := v.Verify(forged, time.Now()); got.Reason != ReasonSignature || got.Retry != nil {
			t.Errorf("a forgery in a known key's name: %+v, want signature and nothing to wait for", got)
		}
	})
}

// A rotation without notice: the provider signs with a key that it published a
// moment ago. The first token asks for a fetch and waits for it.
func TestRefresher_UnknownKeyIsFetchedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{body: jwks(jwkOf("old", "", testKeys().ed)), lifetime: -1, takes: 50 * time.Millisecond}
		v := refreshed(t, src, testCadence)
		time.Sleep(time.Minute)
		src.set(func(f *fakeSource) { f.body = publicKeySet() })
		token := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
		start := time.Now()
		verdict := v.Verify(token, time.Now())
		if verdict.Reason != ReasonKey || verdict.Retry == nil {
			t.Fatalf("got %+v, want key and something to wait for", verdict)
		}
		<-verdict.Retry
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("waited %v, want the time of one fetch", took)
		}
		if got := v.Verify(token, time.Now()).Reason; got != ReasonOK {
			t.Errorf("after the fetch: %v, want ok", got)
		}
	})
}

func TestRefresher_FloodOfUnknownKeysCausesOneFetchPerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{body: publicKeySet(), lifetime: -1, takes: 20 * time.Millisecond}
		v := refreshed(t, src, testCadence)
		good := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
		parts := strings.SplitN(good, ".", 2)
		time.Sleep(time.Second)
		waiting := 0
		for i := range 60_000 { // a minute of 1,000 a second
			bogus := b64(fmt.Appendf(nil, `{"alg":"ES256","kid":"bogus-%d"}`, i)) + "." + parts[1]
			if verdict := v.Verify(bogus, time.Now()); verdict.Reason != ReasonKey {
				t.Fatalf("bogus token: %v, want key", verdict.Reason)
			} else if verdict.Retry != nil {
				waiting++
			}
			if i%100 == 0 {
				start := time.Now()
				if got := v.Verify(good, time.Now()); got.Reason != ReasonOK || got.Retry != nil || time.Since(start) != 0 {
					t.Fatalf("good token in the flood: %+v after %v", got, time.Since(start))
				}
			}
			time.Sleep(time.Millisecond)
		}
		fetches := src.starts()
		if n := len(fetches); n < 6 || n > 8 {
			t.Errorf("%d fetches in a minute, want one per 10 s", n)
		}
		for i := 1; i < len(fetches); i++ {
			if pause := fetches[i] - fetches[i-1]; pause < testCadence.minRefresh {
				t.Errorf("fetches %v apart, want at least %v", pause, testCadence.minRefresh)
			}
		}
		if waiting > 7*maxWaiting {
			t.Errorf("%d bogus requests were to wait, want at most %d per fetch", waiting, maxWaiting)
		}
	})
}

func TestRefresher_HangingServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{body: publicKeySet(), lifetime: -1}
		v := refreshed(t, src, testCadence)
		time.Sleep(time.Second)
		src.set(func(f *fakeSource) { f.takes = 24 * time.Hour })
		time.Sleep(12 * time.Minute)
		st := v.issuers[0].keys.state()
		if st.LastError == "" || len(st.Keys) != 2 {
			t.Errorf("state %+v, want an error and the two keys that the algorithms need", st)
		}
	})
}

func TestRefresher_StopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := refreshed(t, &fakeSource{takes: time.Hour}, cadence{refresh: time.Hour, minRefresh: time.Hour, timeout: time.Hour})
		synctest.Wait()
		start := time.Now()
		v.issuers[0].keys.refresher.stop()
		if took := time.Since(start); took != 0 {
			t.Errorf("stopping took %v", took)
		}
	})
}

func TestLifetime(t *testing.T) {
	for _, tc := range []struct {
		control, age string
		want         time.Duration
	}{
		{"", "", -1},
		{"max-age=300", "", 5 * time.Minute},
		{"public, max-age=300", "100", 200 * time.Second},
		{"Max-Age=\"300\"", "", 5 * time.Minute},
		{"max-age=300", "400", 0},
		{"no-store", "", 0},
		{"no-cache, max-age=300", "", 0},
		{"max-age=-1", "", -1},
		{"max-age=99999999999999999999", "", -1},
		{"max-age=300", "x", 5 * time.Minute},
	} {
		h := map[string][]string{"Cache-Control": {tc.control}, "Age": {tc.age}}
		if got := lifetime(h); got != tc.want {
			t.Errorf("lifetime(%q, %q) = %v, want %v", tc.control, tc.age, got, tc.want)
		}
	}
}

// A reload between the moment in which keys can be used and the end of their
// fetch takes them over with their age.
func TestRefresher_KeysAreTakenOverWithTheirAge(t *testing.T) {
	allowed, err := newAllowlist([]string{"ES256"})
	if err != nil {
		t.Fatal(err)
	}
	newSet := func() *keySet {
		s := &keySet{refresher: &refresher{source: &fakeSource{}, allowed: allowed, cadence: testCadence, logger: zap.NewNop()}}
		s.refresher.set = s
		return s
	}
	old, next := newSet(), newSet()
	if _, err := old.refresher.install(publicKeySet()); err != nil {
		t.Fatal(err)
	}
	next.inherit(old)
	if until := instant(next.until.Load()); until <= instantOf(time.Now()) {
		t.Error("keys that were just fetched are taken over as too old")
	}
}

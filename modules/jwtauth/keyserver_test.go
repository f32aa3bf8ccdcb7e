package jwtauth

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// keyServer is a real key server whose manners a test can change at any time.
type keyServer struct {
	*httptest.Server
	mu      sync.Mutex
	answer  http.HandlerFunc
	fetches atomic.Int64
}

func newKeyServer(tb testing.TB) *keyServer {
	s := &keyServer{answer: serving(publicKeySet())}
	s.Server = httptest.NewServer(s)
	tb.Cleanup(s.Close)
	return s
}

func (s *keyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.fetches.Add(1)
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	answer(w, r)
}

func (s *keyServer) behave(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func serving(document []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document)
	}
}

// block is an issuer block that fetches from the server often.
func (s *keyServer) block(extra string) string {
	return fmt.Sprintf("issuer %s {\njwks_url %s/jwks.json\nalgorithms RS256 ES256 EdDSA\naudience %s\nrefresh 1s\nmin_refresh 100ms\n%s\n}\n",
		testIssuer, s.URL, testAudience, extra)
}

// saying reports whether the last fetch failed with these words, "" for well,
// and asks for the next fetch: it need not come as late as refresh says.
func saying(keys *keySet, words string) func() bool {
	return func() bool {
		keys.await()
		last := keys.state().LastError
		return words == "" && last == "" || words != "" && strings.Contains(last, words)
	}
}

// eventually waits until something is true, for as long as only something broken takes.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	tb.Fatalf("never: %s", what)
}

func TestKeyServer_BadMannersNeverCostGoodTokens(t *testing.T) {
	s := newKeyServer(t)
	h := newHandler(t, s.block("timeout 300ms"))
	keys := h.engine.guard.verifier.issuers[0].keys
	token := func() string { return tokenBy(t, "ES256", "p256", time.Now(), time.Hour) }
	if a := ask(h, request(token())); a.status != 200 {
		t.Fatalf("at first: %d %s", a.status, a.challenge)
	}
	elsewhere := newKeyServer(t)
	elsewhere.behave(serving(jwks(jwkOf("p256", "", testKeys().otherEC))))
	huge := bytes.Repeat([]byte(" "), 1<<20)
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
		{"hangs after the head", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "deadline exceeded"},
		{"redirects", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		}, "redirects are not followed"},
		{"answers 100 MB", func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				if _, err := w.Write(huge); err != nil {
					return
				}
			}
		}, "larger than 1048576 bytes"},
		{"answers HTML", serving([]byte("<!doctype html><title>Login</title>")), "not a JSON object"},
		{"answers an empty set", serving(jwks()), "no usable key"},
		{"answers only weak keys", serving([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)), "no usable key"},
		{"answers 500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "status 500"},
		{"answers 304 to no question", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, "status 304"},
		{"answers 204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "status 204"},
		{"drops the connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"cuts the body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"keys":`))
		}, "EOF"},
	} {
		s.behave(tc.answer)
		eventually(t, tc.name+" is noticed", saying(keys, tc.want))
		h.engine.cache.sweep(latest)
		if a := ask(h, request(token())); a.status != 200 {
			t.Errorf("%s: a good token gets %d %s", tc.name, a.status, a.challenge)
		}
	}
	if n := elsewhere.fetches.Load(); n != 0 {
		t.Errorf("the target of the redirect was asked %d times", n)
	}
	s.behave(serving(publicKeySet()))
	eventually(t, "the server is well again", saying(keys, ""))
}

// Traffic during a rotation without overlap in notice: the new key is published
// when it is first used, the old one stays as long as its tokens live.
func TestKeyServer_RotationDuringTraffic(t *testing.T) {
	s := newKeyServer(t)
	k := testKeys()
	s.behave(serving(jwks(jwkOf("1", "", k.ec))))
	h := newHandler(t, s.block("max_stale 1m"))
	signer := func(kid string, key any) func() string {
		return func() string {
			return sign(t, "ES256", key, testHeader{"kid": kid}, with(goodClaims(time.Now()), map[string]any{"jti": fmt.Sprint(time.Now().UnixNano())}))
		}
	}
	oldToken, newToken := signer("1", k.ec), signer("2", k.otherEC)
	var current atomic.Pointer[func() string]
	current.Store(&oldToken)
	var refused, asked atomic.Int64
	var stop atomic.Bool
	var traffic sync.WaitGroup
	for range 4 {
		traffic.Go(func() {
			for !stop.Load() {
				asked.Add(1)
				if a := ask(h, request((*current.Load())())); a.status != 200 {
					refused.Add(1)
					t.Log(a.status, a.challenge)
				}
			}
		})
	}
	flow := func() {
		t.Helper()
		enough := asked.Load() + 20
		eventually(t, "traffic", func() bool { return asked.Load() >= enough })
	}
	flow()
	s.behave(serving(jwks(jwkOf("1", "", k.ec), jwkOf("2", "", k.otherEC))))
	current.Store(&newToken)
	flow()
	kept := oldToken()
	if a := ask(h, request(kept)); a.status != 200 {
		t.Errorf("a token of the old key while it is published: %d", a.status)
	}
	s.behave(serving(jwks(jwkOf("2", "", k.otherEC))))
	eventually(t, "the old key is gone", func() bool { return ask(h, request(kept)).status == 401 })
	flow()
	s.Close() // an outage of longer than refresh
	time.Sleep(1500 * time.Millisecond)
	flow()
	stop.Store(true)
	traffic.Wait()
	if refused.Load() > 0 {
		t.Errorf("%d of %d good tokens refused", refused.Load(), asked.Load())
	}
}

func TestKeyServer_DownAtStartIsA503UntilItIsUp(t *testing.T) {
	s := newKeyServer(t)
	s.behave(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	h := newHandler(t, s.block(""))
	token := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
	a := ask(h, request(token))
	if a.status != 503 || a.code != "Service unavailable" || a.header.Get("Retry-After") == "" || a.challenge != "" {
		t.Errorf("while it is down: %d %v %v", a.status, a.code, a.header)
	}
	if a := ask(h, request("x.y.z")); a.status != 401 {
		t.Errorf("nonsense while it is down: %d, want 401", a.status)
	}
	s.behave(serving(publicKeySet()))
	eventually(t, "tokens pass", func() bool { return ask(h, request(token)).status == 200 })
}

// The first requests after a start wait for the first fetch instead of failing.
func TestKeyServer_FirstRequestsWaitForTheFirstFetch(t *testing.T) {
	s := newKeyServer(t)
	s.behave(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(200 * time.Millisecond)
		serving(publicKeySet())(w, r)
	})
	h := newHandler(t, s.block(""))
	if a := ask(h, request(tokenBy(t, "ES256", "p256", time.Now(), time.Hour))); a.status != 200 {
		t.Errorf("first request: %d, want 200 after a wait", a.status)
	}
}

func TestKeyServer_Discovery(t *testing.T) {
	s := newKeyServer(t)
	var metadata atomic.Pointer[string]
	says := func(m string) { metadata.Store(&m) }
	s.behave(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
			_, _ = w.Write([]byte(*metadata.Load()))
			return
		}
		serving(publicKeySet())(w, r)
	})
	name := s.URL + "/realm"
	good := fmt.Sprintf(`{"issuer":%q,"jwks_uri":"%s/keys"}`, name, s.URL)
	says(good)
	block := fmt.Sprintf("issuer %s {\ndiscovery\nalgorithms ES256\naudience %s\nrefresh 1s\nmin_refresh 100ms\n}", name, testAudience)
	h := newHandler(t, block)
	token := func() string {
		return sign(t, "ES256", testKeys().ec, nil, with(goodClaims(time.Now()), map[string]any{"iss": name}))
	}
	if a := ask(h, request(token())); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.challenge)
	}
	keys := h.engine.guard.verifier.issuers[0].keys
	for _, tc := range []struct{ metadata, want string }{
		{fmt.Sprintf(`{"issuer":"https://evil.example","jwks_uri":"%s/keys"}`, s.URL), "of another issuer"},
		{fmt.Sprintf(`{"issuer":%q,"jwks_uri":"http://evil.example/keys"}`, name), "must be https"},
		{fmt.Sprintf(`{"issuer":%q,"jwks_uri":"file:///etc/passwd"}`, name), "jwks_uri"},
		{fmt.Sprintf(`{"issuer":%q}`, name), "jwks_uri"},
		{fmt.Sprintf(`{"issuer":%q,"issuer":%q,"jwks_uri":"%s/keys"}`, name, name, s.URL), "duplicate"},
		{`[]`, "not a JSON object"},
	} {
		says(tc.metadata)
		eventually(t, tc.want+" is noticed", saying(keys, tc.want))
		if a := ask(h, request(token())); a.status != 200 {
			t.Errorf("%s: a good token gets %d", tc.want, a.status)
		}
		says(good)
		eventually(t, "recovery", saying(keys, ""))
	}
}

func TestKeyServer_TLS(t *testing.T) {
	s := httptest.NewTLSServer(serving(publicKeySet()))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	ca := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	block := fmt.Sprintf("issuer %s {\njwks_url %s\nalgorithms ES256\naudience %s\n%%s\n}", testIssuer, s.URL, testAudience)
	for extra, want := range map[string]int{"tls_ca " + ca: 200, "": 503} {
		h := newHandler(t, fmt.Sprintf(block, extra))
		token := tokenBy(t, "ES256", "p256", time.Now(), time.Hour)
		eventually(t, "a fetch", func() bool { return h.engine.guard.verifier.issuers[0].keys.state().Fetches > 0 })
		if a := ask(h, request(token)); a.status != want {
			t.Errorf("%q: %d, want %d", extra, a.status, want)
		}
	}
}

func TestKeyServer_AsksConditionally(t *testing.T) {
	s := newKeyServer(t)
	var unchanged atomic.Int64
	s.behave(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		switch {
		case r.Header.Get("If-None-Match") == `"1"`:
			unchanged.Add(1)
			w.WriteHeader(304)
		default:
			_, _ = w.Write(publicKeySet())
		}
	})
	h := newHandler(t, s.block(""))
	keys := h.engine.guard.verifier.issuers[0].keys
	eventually(t, "304 counts as a success", func() bool { return unchanged.Load() > 0 && keys.state().LastError == "" })
	s.behave(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"2"`)
		if r.Header.Get("If-None-Match") == `"2"` {
			t.Error("a document that was no good is asked for conditionally")
		}
		_, _ = w.Write([]byte("<html>"))
	})
	before := s.fetches.Load()
	eventually(t, "three bad answers", func() bool { return s.fetches.Load() >= before+3 })
}

func TestKeyFile_IsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jwks.json")
	write := func(doc []byte) {
		if err := os.WriteFile(path, doc, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(jwks(jwkOf("1", "", testKeys().ec)))
	h := newHandler(t, fmt.Sprintf("issuer %s {\njwks_file %s\nalgorithms ES256\naudience any\nrefresh 1s\nmin_refresh 100ms\n}", testIssuer, path))
	old := tokenBy(t, "ES256", "1", time.Now(), time.Hour)
	if a := ask(h, request(old)); a.status != 200 {
		t.Fatalf("%d", a.status)
	}
	write(jwks(jwkOf("2", "", testKeys().otherEC)))
	eventually(t, "the key that was taken out is refused", func() bool { return ask(h, request(old)).status == 401 })
	if a := ask(h, request(sign(t, "ES256", testKeys().otherEC, testHeader{"kid": "2"}, goodClaims(time.Now())))); a.status != 200 {
		t.Errorf("the key that was put in: %d", a.status)
	}
}

// A file that was emptied is a failure each time it is read, not only the first.
func TestKeyFile_EmptiedIsNeverNews(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	src := &fileSource{path: path}
	for range 2 {
		if doc, err := src.fetch(t.Context()); err != nil || doc.unchanged {
			t.Errorf("unchanged %v, %v; the keys would never grow stale", doc.unchanged, err)
		}
		src.forget()
	}
}

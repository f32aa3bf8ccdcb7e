package cache

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
)

// encoded is a site with `encode gzip` between cache and origin.
func encoded(t *testing.T, origin originFunc) *site {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	enc := &encode.Encode{EncodingsRaw: caddy.ModuleMap{"gzip": json.RawMessage("{}")}, MinLength: 10}
	if err := enc.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		return enc.ServeHTTP(w, r, caddyhttp.HandlerFunc(origin))
	})
}

func TestEncode_InsideTheCache(t *testing.T) {
	body := strings.Repeat("0123456789", 100)
	validated := 0
	s := encoded(t, func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			validated++
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		_, err := io.WriteString(w, body)
		return err
	})
	check := func(a answer, gzipped bool) {
		t.Helper()
		text, encoding, etag := a.text, "", `"1"`
		if gzipped {
			z, err := gzip.NewReader(strings.NewReader(a.text))
			if err != nil {
				t.Fatalf("not gzip: %v (%v)", err, a.Header)
			}
			plain, _ := io.ReadAll(z)
			text, encoding, etag = string(plain), "gzip", `"1-gzip"`
		}
		if text != body || a.Header.Get("Content-Encoding") != encoding || a.Header.Get("Etag") != etag {
			t.Errorf("got %d bytes, Content-Encoding %q, ETag %s; want encoding %q, ETag %s",
				len(text), a.Header.Get("Content-Encoding"), a.Header.Get("Etag"), encoding, etag)
		}
		if !strings.Contains(a.Header.Get("Vary"), "Accept-Encoding") {
			t.Errorf("Vary = %q", a.Header.Get("Vary"))
		}
		if n := a.Header.Get("Content-Length"); a.Header.Get("Age") != "" && n != fmt.Sprint(len(a.text)) {
			t.Errorf("Content-Length = %q, the body has %d", n, len(a.text))
		}
	}
	for range 2 { // the plain one first, which must not become everybody's
		check(s.get("/"), false)
		check(s.get("/", "Accept-Encoding: gzip"), true)
		check(s.get("/", "Accept-Encoding: gzip;q=1.0"), true)
	}
	s.wantAsked(2)
	if a := s.get("/", "Accept-Encoding: gzip", `If-None-Match: "1-gzip"`); a.StatusCode != 304 {
		t.Errorf("status %d, want 304", a.StatusCode)
	}
	s.expire(2 * time.Minute)
	check(s.get("/", "Accept-Encoding: gzip"), true)
	check(s.get("/"), false)
	if validated != 2 {
		t.Errorf("%d validations, want 2", validated)
	}
	check(s.get("/", "Accept-Encoding: gzip"), true)
	s.wantAsked(4)
}

func TestQuery_BodyIsPartOfTheKey(t *testing.T) {
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%d bytes of %.10s", len(body), body)
		return err
	})
	query := func(body, media string) string {
		r, _ := http.NewRequest("QUERY", s.URL+"/", strings.NewReader(body))
		r.Header.Set("Content-Type", media)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return string(text)
	}
	for range 2 {
		for _, body := range []string{"a", "b", ""} {
			if got, want := query(body, "text/x"), fmt.Sprintf("%d bytes of %s", len(body), body); got != want {
				t.Errorf("QUERY %q = %q, want %q", body, got, want)
			}
		}
		query("a", "text/y")
	}
	s.wantAsked(4)
	large := strings.Repeat("x", maxQuery+1)
	for range 2 {
		if got, want := query(large, "text/x"), fmt.Sprintf("%d bytes of %.10s", len(large), large); got != want {
			t.Errorf("a large QUERY = %q, want %q", got, want)
		}
	}
	s.wantAsked(6)
	s.get("/")
	s.wantAsked(7)
}

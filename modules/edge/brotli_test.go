package edge

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	caddygzip "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip"
	caddyzstd "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/zstd"

	"github.com/fairway-gateway/fairway/test/process"
)

// listing is JSON as an API sends it.
func listing(n int) string {
	var b strings.Builder
	for i := b.Len(); b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":%d,"email":"user%d@example.com","name":"Ada %d Lovelace","plan":"free","created_at":"2026-11-%02dT21:%02d:00Z"},`,
			i, i*7919, i%13, i%28+1, i%60)
	}
	return "[" + strings.TrimSuffix(b.String(), ",") + "]"
}

func TestBrotli_InCaddysEncode(t *testing.T) {
	var e encode.Encode
	if err := e.UnmarshalCaddyfile(caddyfile.NewTestDispenser("encode {\n br 5\n gzip\n minimum_length 1024\n}")); err != nil {
		t.Fatal(err)
	}
	if got := string(e.EncodingsRaw["br"]); got != `{"level":5}` {
		t.Errorf("config %s", got)
	}
	if err := e.Provision(context(t)); err != nil {
		t.Fatal(err)
	}
	body := listing(4000)
	get := func(accept, contentType, body string) *http.Response {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", accept)
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
		err := e.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("ETag", `"v1"`)
			_, err := io.WriteString(w, body)
			return err
		}))
		if err != nil {
			t.Fatal(err)
		}
		return w.Result()
	}
	resp := get("gzip, br", "application/json", body)
	plain, err := io.ReadAll(brotli.NewReader(resp.Body))
	if err != nil || string(plain) != body {
		t.Fatalf("decoding: %v, %d bytes of %d", err, len(plain), len(body))
	}
	if h := resp.Header; h.Get("Content-Encoding") != "br" || h.Get("ETag") != `"v1-br"` || h.Get("Vary") != "Accept-Encoding" || h.Get("Content-Length") != "" {
		t.Errorf("header %v", h)
	}
	for name, resp := range map[string]*http.Response{
		"refused by weight":  get("br;q=0", "application/json", body),
		"compressed already": get("br", "image/jpeg", body),
		"too short":          get("br", "application/json", body[:500]),
	} {
		if got := resp.Header.Get("Content-Encoding"); got != "" {
			t.Errorf("%s: Content-Encoding %q", name, got)
		}
	}
}

func TestBrotli_NamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{"br fast": `br: level "fast"`, "br 5 6": "wrong argument count"} {
		if err := new(Brotli).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want …%s…", text, err, want)
		}
	}
	level := 12
	b := Brotli{Level: &level}
	if err := b.Provision(context(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.Validate(); err == nil || !strings.Contains(err.Error(), "from 0 to 11, got 12") {
		t.Errorf("error %v", err)
	}
}

// BenchmarkBrotli shows what made 5 the default.
func BenchmarkBrotli(b *testing.B) {
	body := []byte(listing(20_000))
	encodings := map[string]encode.Encoding{
		"gzip=5": &caddygzip.Gzip{Level: 5}, "gzip=6": &caddygzip.Gzip{Level: 6},
	}
	z := new(caddyzstd.Zstd)
	if err := z.Provision(context(b)); err != nil {
		b.Fatal(err)
	}
	encodings["zstd"] = z
	for level := 1; level <= 7; level++ {
		encodings[fmt.Sprint("br=", level)] = &Brotli{level: level}
	}
	for _, name := range []string{"gzip=5", "gzip=6", "zstd", "br=1", "br=2", "br=3", "br=4", "br=5", "br=6", "br=7"} {
		b.Run(name, func(b *testing.B) {
			enc := encodings[name].NewEncoder()
			var out bytes.Buffer
			start := process.SelfCPU()
			for b.Loop() {
				out.Reset()
				enc.Reset(&out)
				if _, err := enc.Write(body); err != nil {
					b.Fatal(err)
				}
				if err := enc.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(process.SelfCPU()-start)/1000/float64(b.N), "cpu-µs/op")
			b.ReportMetric(100*float64(out.Len())/float64(len(body)), "%size")
		})
	}
}

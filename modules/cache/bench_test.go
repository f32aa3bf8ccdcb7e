package cache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// sink is a response writer that keeps nothing.
type sink struct {
	header http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

// runner serves one prepared request again and again.
type runner struct {
	w *sink
	r *http.Request
	h caddyhttp.MiddlewareHandler
	n caddyhttp.Handler
}

func newRunner(h caddyhttp.MiddlewareHandler, next caddyhttp.Handler) *runner {
	w := &sink{header: make(http.Header)}
	r, _ := http.NewRequest("GET", "http://api.example/users/me?page=1", nil)
	for name, v := range map[string]string{"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "bench/1", "X-Request-Id": "1"} {
		r.Header.Set(name, v)
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
	return &runner{w, r, h, next}
}

func (b *runner) serve(tb testing.TB) {
	clear(b.w.header)
	b.w.header["Server"] = []string{"Caddy"}
	if err := b.h.ServeHTTP(b.w, b.r, b.n); err != nil {
		tb.Fatal(err)
	}
}

func origin(body string) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		h := w.Header()
		h.Set("Cache-Control", "max-age=100000000")
		h.Set("Content-Type", "text/plain")
		h.Set("Date", "Sun, 22 Nov 2026 21:00:00 GMT")
		h.Set("Etag", `"abc"`)
		_, err := w.Write([]byte(body))
		return err
	})
}

func respond(body string) caddyhttp.MiddlewareHandler {
	return caddyhttp.StaticResponse{Body: body, Headers: http.Header{"Content-Type": {"text/plain"}}}
}

func TestHit_AllocatesLittleMoreThanRespond(t *testing.T) {
	body := strings.Repeat("x", 1000)
	h, _, err := provision(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	cached, static := newRunner(h, origin(body)), newRunner(respond(body), nil)
	cached.serve(t)
	a := testing.AllocsPerRun(1000, func() { cached.serve(t) })
	b := testing.AllocsPerRun(1000, func() { static.serve(t) })
	if a > b+5 {
		t.Errorf("a hit makes %v allocations, respond %v; want at most 5 more", a, b)
	}
}

func BenchmarkHandler_Hit(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10} {
		body := strings.Repeat("x", size)
		h := &Handler{Name: fmt.Sprintf("bench-%d", size)}
		ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Provision(ctx); err != nil {
			b.Fatal(err)
		}
		defer h.Cleanup()
		for name, r := range map[string]*runner{"cache": newRunner(h, origin(body)), "respond": newRunner(respond(body), nil)} {
			b.Run(fmt.Sprintf("%s/size=%d", name, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r.serve(b)
				}
			})
		}
	}
}

// BenchmarkHandler_Miss is a response that is fetched each time: one that is
// stored under a new URL, and one that is not stored.
func BenchmarkHandler_Miss(b *testing.B) {
	for name, control := range map[string]string{"stored": "max-age=60", "no-store": "no-store"} {
		b.Run(name, func(b *testing.B) {
			h, _, err := provision(b, "", "")
			if err != nil {
				b.Fatal(err)
			}
			r := newRunner(h, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Cache-Control", control)
				w.Header().Set("Content-Length", "5")
				_, err := w.Write([]byte("hello"))
				return err
			}))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.r.URL.RawQuery = strconv.Itoa(i)
				r.serve(b)
			}
		})
	}
}

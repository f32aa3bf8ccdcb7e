package cache

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// Bounds of one warm-up.
const (
	maxWarm      = 10_000 // requests
	warmTogether = 4      // at the same time
	maxWarmFails = 20     // that are told of
)

// warmArguments are those of the action "warm".
type warmArguments struct {
	// URLs to ask for, absolute: an array, or a string with spaces between.
	URLs words `json:"urls"`

	// Encodings are values of Accept-Encoding: each URL is asked for once with
	// each. Default: once without.
	Encodings words `json:"encodings"`
}

// words is a list of strings, in JSON also a string with spaces between.
type words []string

func (w *words) UnmarshalJSON(p []byte) error {
	var one string
	if json.Unmarshal(p, &one) == nil {
		*w = strings.Fields(one)
		return nil
	}
	return json.Unmarshal(p, (*[]string)(w))
}

// warmResult is what came of a warm-up.
type warmResult struct {
	// Cached are the requests whose response is in the cache now.
	Cached int `json:"cached"`

	// NotCached are the others; Failures say why, of the first few.
	NotCached int      `json:"not_cached"`
	Failures  []string `json:"failures,omitempty"`
}

// warm asks for a list of URLs as an anonymous client of the running gateway
// would, so that their responses are in the cache where those may be. The
// requests go through all handlers of their site, from the loopback address.
func (p *part) warm(ctx context.Context, a *warmArguments) (any, error) {
	if !p.first() {
		return nil, gateway.ErrNotMine // a site finds its cache by itself
	}
	if len(a.Encodings) == 0 {
		a.Encodings = words{""}
	}
	if n := len(a.URLs) * len(a.Encodings); n < 1 || n > maxWarm {
		return nil, gateway.BadArgument("warm: want 1 to %d requests, got %d urls and %d encodings", maxWarm, len(a.URLs), len(a.Encodings))
	}
	app, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		return nil, err
	}
	var requests []*http.Request
	for _, ref := range a.URLs {
		for _, encoding := range a.Encodings {
			r, err := warmRequest(ref, encoding)
			if err != nil {
				return nil, err
			}
			requests = append(requests, r)
		}
	}
	return warmAll(ctx, app.(*caddyhttp.App), requests, time.Duration(p.h.FillTimeout)), nil
}

// first tells whether this is the first of the config's caches.
func (p *part) first() bool {
	for _, other := range p.app.Parts() {
		if q, ok := other.(*part); ok {
			return q == p
		}
	}
	return false
}

func warmRequest(ref, encoding string) (*http.Request, error) {
	u, err := url.Parse(ref)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, gateway.BadArgument("warm: urls: %q is no absolute http or https URL", ref)
	}
	r, err := http.NewRequest(http.MethodGet, ref, nil)
	if err != nil {
		return nil, gateway.BadArgument("warm: urls: %q: %v", ref, err)
	}
	// as a server would have read it
	r.RequestURI, r.RemoteAddr = u.RequestURI(), "127.0.0.1:0"
	r.URL.Scheme, r.URL.Host = "", ""
	if r.URL.Path == "" {
		r.URL.Path = "/"
	}
	r.Body = http.NoBody
	if encoding != "" {
		r.Header["Accept-Encoding"] = []string{encoding}
	}
	if u.Scheme == "https" {
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: u.Hostname()}
	}
	return r, nil
}

// warmAll sends the requests, a few at a time, until ctx ends.
func warmAll(ctx context.Context, app *caddyhttp.App, requests []*http.Request, limit time.Duration) *warmResult {
	var (
		result warmResult
		mu     sync.Mutex
		wg     sync.WaitGroup
		next   = make(chan *http.Request)
	)
	for range warmTogether {
		wg.Go(func() {
			for r := range next {
				err := warmOne(ctx, app, r, limit)
				mu.Lock()
				if err == nil {
					result.Cached++
				} else if result.NotCached++; len(result.Failures) < maxWarmFails {
					result.Failures = append(result.Failures, fmt.Sprintf("%s: %v", r.Host+r.RequestURI, err))
				}
				mu.Unlock()
			}
		})
	}
	for _, r := range requests {
		next <- r
	}
	close(next)
	wg.Wait()
	return &result
}

// warmOne sends one request and returns why its response is not in the cache.
func warmOne(ctx context.Context, app *caddyhttp.App, r *http.Request, limit time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	server := serverOf(app, r)
	if server == nil {
		return fmt.Errorf("no server of the running config has this port")
	}
	defer func() {
		if p := recover(); p != nil {
			if !isAbort(p) {
				panic(p)
			}
			err = fmt.Errorf("the response broke off")
		}
	}()
	w := &discard{header: make(http.Header)}
	server.ServeHTTP(w, r.WithContext(ctx))
	status := strings.Join(w.header["Cache-Status"], ", ")
	switch {
	case status == "":
		return fmt.Errorf("status %d, past any cache", w.status)
	case !strings.Contains(status, "; stored") && !strings.Contains(status, "; hit") && !strings.Contains(status, "; collapsed"):
		return fmt.Errorf("status %d, %s", w.status, status)
	}
	return nil
}

// serverOf is the server that a request would have come in by.
func serverOf(app *caddyhttp.App, r *http.Request) *caddyhttp.Server {
	_, port, found := strings.Cut(r.Host[strings.LastIndexByte(r.Host, ']')+1:], ":")
	if !found {
		port = "80"
		if r.TLS != nil {
			port = "443"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		for _, listen := range app.Servers[name].Listen {
			a, err := caddy.ParseNetworkAddress(listen)
			if err != nil {
				continue
			}
			for p := a.StartPort; p <= a.EndPort; p++ {
				if itoa(int(p)) == port {
					return app.Servers[name]
				}
			}
		}
	}
	return nil
}

// discard is a response writer that keeps the head only.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) WriteHeader(status int) {
	if status >= 200 && d.status == 0 {
		d.status = status
	}
}

func (d *discard) Write(p []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	return len(p), nil
}

func (d *discard) Flush()                           {}
func (d *discard) SetReadDeadline(time.Time) error  { return nil }
func (d *discard) SetWriteDeadline(time.Time) error { return nil }

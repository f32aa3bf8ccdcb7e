package resilience

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func init() {
	httpcaddyfile.RegisterDirectiveOrder("resilience", httpcaddyfile.Before, "reverse_proxy")
}

// origin is a real upstream on an address of its own, which can die and come
// back.
type origin struct {
	t      *testing.T
	addr   string
	server *http.Server
	answer atomic.Pointer[http.HandlerFunc]
	hits   atomic.Int64
}

func newOrigin(t *testing.T, answer http.HandlerFunc) *origin {
	t.Helper()
	o := &origin{t: t, addr: freeAddr(t)}
	if answer == nil {
		answer = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") }
	}
	o.set(answer)
	o.start()
	t.Cleanup(o.kill)
	return o
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (o *origin) set(answer http.HandlerFunc) { o.answer.Store(&answer) }

func (o *origin) start() {
	o.t.Helper()
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	o.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.hits.Add(1)
		(*o.answer.Load())(w, r)
	})}
	go o.server.Serve(l)
}

// kill closes the listener and every connection at once, as a dying process
// does.
func (o *origin) kill() { o.server.Close() }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// proxy is a running gateway.
type proxy struct {
	t    *testing.T
	addr string
	log  string // file of the access log
}

// startProxy runs Caddy in this process with a site that holds the block.
func startProxy(t *testing.T, site string) *proxy {
	t.Helper()
	p := &proxy{t: t, addr: freeAddr(t), log: filepath.Join(t.TempDir(), "access.log")}
	if err := p.load(site); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		groups.Range(func(name, _ any) bool {
			t.Errorf("group %q is still held after the gateway has stopped", name)
			return true
		})
	})
	return p
}

// load replaces the running config, as POST /load does.
func (p *proxy) load(site string) error {
	text := fmt.Sprintf(`{
		admin off
		auto_https off
		grace_period 20s
		log default {
			output discard
		}
	}
	http://%s {
		log {
			output file %s
		}
		%s
	}`, p.addr, p.log, site)
	config, err := adapt(text)
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

func adapt(text string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// answer is what a client sees.
type answer struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

func (p *proxy) get(path string) answer { return p.do(http.MethodGet, path, "") }

func (p *proxy) do(method, path, body string) answer {
	p.t.Helper()
	a, err := p.try(method, path, body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (p *proxy) try(method, path, body string) (answer, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.addr+path, reader)
	if err != nil {
		return answer{}, err
	}
	start := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(got), time.Since(start)}, err
}

// wantStatuses makes a request for each status and compares.
func (p *proxy) wantStatuses(want ...int) {
	p.t.Helper()
	for i, w := range want {
		if a := p.get("/"); a.status != w {
			p.t.Fatalf("answer %d of %v: %d %q, want %d", i+1, want, a.status, a.body, w)
		}
	}
}

// logged returns the access log.
func (p *proxy) logged() string {
	p.t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// state returns the state of an upstream.
func state(t *testing.T, name, dial string) *Upstream {
	t.Helper()
	u := find(name, dial)
	if u == nil {
		t.Fatalf("no state of upstream %q in group %q", dial, name)
	}
	return u
}

func find(name, dial string) (found *Upstream) {
	groups.Range(func(key, v any) bool {
		if key == name {
			g := v.(*Group)
			g.mu.RLock()
			found = g.upstreams[dial]
			g.mu.RUnlock()
		}
		return true
	})
	return found
}

// elapse ends the open period of a breaker as if its time had passed.
func elapse(t *testing.T, name, dial string) {
	t.Helper()
	b := state(t, name, dial).breaker
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.State() != Open {
		t.Errorf("the breaker of %s is %s, want open", dial, b.State())
	}
	b.until = time.Now()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

// parallel runs n copies of do and waits.
func parallel(n int, do func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(do)
	}
	all.Wait()
}

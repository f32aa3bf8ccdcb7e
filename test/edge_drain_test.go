package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const drainConfig = `
{
	admin {$FAIRWAY_ADMIN}
	default_bind keep/{$FAIRWAY_BIND}
	shutdown_delay 4s
	grace_period 30s
}
{$FAIRWAY_LISTEN} {
	request_id
	health /health {
		upstream origin http://{$ORIGIN}/plain
	}
	health /livez {
		live
	}
	reverse_proxy {$ORIGIN}
	handle_errors {
		problem
	}
}
`

// balancer is what stands in front of a fleet: it asks each gateway's /health
// ten times a second and sends requests, in turn, to those that said 200 last.
// It never tries a request again.
type balancer struct {
	backends []*backend
	next     atomic.Uint64
}

type backend struct {
	url   string
	proxy *httputil.ReverseProxy

	mu       sync.Mutex
	in       bool
	statuses []int // that /health has answered, without repetitions; 0: nothing
}

func startBalancer(t testing.TB, gateways ...*gateway) (*balancer, string) {
	t.Helper()
	lb := new(balancer)
	ctx, cancel := context.WithCancel(context.Background())
	var polls sync.WaitGroup
	for _, g := range gateways {
		target, err := url.Parse(g.url)
		if err != nil {
			t.Fatal(err)
		}
		b := &backend{url: g.url, proxy: &httputil.ReverseProxy{
			Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { http.Error(w, "balancer: "+err.Error(), 599) },
		}}
		lb.backends = append(lb.backends, b)
		polls.Go(func() { b.poll(ctx) })
	}
	s := httptest.NewServer(lb)
	t.Cleanup(func() { s.Close(); cancel(); polls.Wait() })
	return lb, s.URL
}

func (lb *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	turn := lb.next.Add(1)
	for i := range uint64(len(lb.backends)) {
		if b := lb.backends[(turn+i)%uint64(len(lb.backends))]; b.serving() {
			b.proxy.ServeHTTP(w, r)
			return
		}
	}
	http.Error(w, "no gateway is ready", 598)
}

func (b *backend) serving() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.in
}

func (b *backend) poll(ctx context.Context) {
	probe := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		status := 0
		if resp, err := probe.Get(b.url + "/health"); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			status = resp.StatusCode
		}
		b.mu.Lock()
		b.in = status == http.StatusOK
		if n := len(b.statuses); n == 0 || b.statuses[n-1] != status {
			b.statuses = append(b.statuses, status)
		}
		b.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
	}
}

// A rolling restart under traffic: each gateway says with /health that it drains,
// the balancer leaves it, it ends, and comes back. No request fails, and no
// gateway gets one after its end.
func TestDrain_ARollingRestartFailsNoRequest(t *testing.T) {
	o := startOrigin(t)
	t.Setenv("ORIGIN", o.addr)
	gateways := []*gateway{startGateway(t, drainConfig), startGateway(t, drainConfig)}
	lb, address := startBalancer(t, gateways...)
	allIn := func() error {
		for _, b := range lb.backends {
			if !b.serving() {
				return errors.New(b.url + " is out")
			}
		}
		return nil
	}
	eventually(t, "both gateways in", allIn)

	load := startTraffic(t, 8, func(worker, n int) request {
		if n%2 == 1 {
			return post(fmt.Sprintf("%s/order?w=%d&n=%d", address, worker, n), `{"a":1}`)
		}
		return get(fmt.Sprintf("%s/plain?w=%d&n=%d", address, worker, n))
	}, func(a answer) error {
		if a.status != http.StatusOK || !strings.HasSuffix(a.body, "ok") {
			return fmt.Errorf("want 200 ok; %s", a)
		}
		return nil
	})
	load.flow(t, 200)
	for i, g := range gateways {
		if err := g.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, "503 while it drains", func() error {
			a, err := get(g.url + "/health").try()
			if err != nil {
				return err
			}
			if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, `"status":"draining"`) {
				return errors.New(a.String())
			}
			return nil
		})
		// It serves on for those who have not noticed yet, and is alive.
		get(g.url+"/plain").send(t).want(t, http.StatusOK)
		get(g.url+"/livez").send(t).want(t, http.StatusOK)
		wantExit(t, g.Done(), g.ExitCode)
		g.restart()
		eventually(t, "both gateways in again", allIn)
		load.flow(t, 200)
		b := lb.backends[i]
		b.mu.Lock()
		if got := fmt.Sprint(b.statuses); got != "[200 503 0 200]" {
			t.Errorf("gateway %d answered the balancer %s, want ready, draining, gone, ready", i, got)
		}
		b.mu.Unlock()
	}
	load.end(t)
}

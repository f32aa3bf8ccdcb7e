package test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/test/process"
)

func init() { caddy.RegisterModule(memoryUpstream{}) }

// memoryUpstream is a transport to an upstream that is not there: it writes the
// request and reads an answer as one to a network does.
type memoryUpstream struct{}

func (memoryUpstream) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport.test_memory",
		New: func() caddy.Module { return new(memoryUpstream) },
	}
}

func (*memoryUpstream) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

const memoryAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nanswer"

func (*memoryUpstream) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Write(io.Discard); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(strings.NewReader(memoryAnswer)), r)
}

// edgeSite logs and proxies; ADDS is what the edge's modules are added by, and
// ERRORS handles errors.
const edgeSite = `
ADDRESS {
	log {
		output file /dev/null {
			roll_disabled
		}
		format json
	}
	ADDS
	reverse_proxy 127.0.0.1:9 {
		PROXY
	}
	ERRORS
}
`

func edgeSiteAt(address, proxy string, edge bool) string {
	adds, errors := "", ""
	if edge {
		adds, errors = "request_id", "handle_errors {\n\t\tproblem\n\t}"
	}
	return strings.NewReplacer("ADDRESS", address, "ADDS", adds, "PROXY", proxy, "ERRORS", errors).Replace(edgeSite)
}

// edgeServers are two servers in this process without and with the edge's modules.
func edgeServers(b *testing.B) (plain, edge http.Handler) {
	b.Helper()
	at := []string{"http://" + process.FreeAddr(), "http://" + process.FreeAddr()}
	config, err := adapt("Caddyfile", "{\n\tadmin off\n\tpersist_config off\n\tlog {\n\t\tlevel ERROR\n\t}\n}\n"+
		edgeSiteAt(at[0], "transport test_memory", false)+edgeSiteAt(at[1], "transport test_memory", true))
	if err != nil {
		b.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = caddy.Stop() })
	app, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		b.Fatal(err)
	}
	found := make([]http.Handler, len(at))
	for _, s := range app.(*caddyhttp.App).Servers {
		for i := range at {
			if strings.HasSuffix(s.Listen[0], at[i][strings.LastIndex(at[i], ":"):]) {
				found[i] = s
			}
		}
	}
	return found[0], found[1]
}

// memoryWriter takes a response and writes its header, as net/http does.
type memoryWriter struct {
	header http.Header
	status int
}

func (w *memoryWriter) Header() http.Header         { return w.header }
func (w *memoryWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *memoryWriter) WriteHeader(status int)      { w.status = status; _ = w.header.Write(io.Discard) }

// usage is what a number of requests cost.
type usage struct {
	cpu    time.Duration
	allocs uint64
	bytes  uint64
}

// spend sends requests that are as a browser or curl sends them at least.
func spend(b *testing.B, server http.Handler, requests int) (u usage) {
	b.Helper()
	rs := make([]*http.Request, requests)
	for i := range rs {
		rs[i] = httptest.NewRequest(http.MethodGet, "http://127.0.0.1/api/users/me?days=7", nil)
		rs[i].Header = http.Header{"User-Agent": {"curl/8.9"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip"}}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := process.SelfCPU()
	for _, r := range rs {
		w := memoryWriter{header: make(http.Header)}
		if server.ServeHTTP(&w, r); w.status != http.StatusOK {
			b.Fatalf("status %d", w.status)
		}
	}
	u.cpu = process.SelfCPU() - start
	runtime.ReadMemStats(&after)
	u.allocs, u.bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return u
}

// What request_id, problem and the log's field add to a request that is logged
// and proxied: in one process and without a network, so that it can be told from
// the noise, beside what the whole request costs a gateway under load.
func BenchmarkFigure_Edge(b *testing.B) {
	plain, edge := edgeServers(b)
	rounds, requests := 60, 2000
	if testing.Short() {
		rounds, requests = 4, 100
	}
	var without, with usage
	var costs [2][]float64 // µs per request, one per round, without and with
	for i := range rounds + 1 {
		p, e := spend(b, plain, requests), spend(b, edge, requests)
		if i == 0 { // warms up
			continue
		}
		costs[0] = append(costs[0], perRequest(p.cpu, requests))
		costs[1] = append(costs[1], perRequest(e.cpu, requests))
		without.allocs, with.allocs = without.allocs+p.allocs, with.allocs+e.allocs
		without.bytes, with.bytes = without.bytes+p.bytes, with.bytes+e.bytes
	}
	// The quieter quarter: whatever else runs makes a round dearer, never cheaper.
	slices.Sort(costs[0])
	slices.Sort(costs[1])
	before, after, n := costs[0][rounds/4], costs[1][rounds/4], float64(rounds*requests)
	added, whole := after-before, loggedRequest(b)
	b.Logf("request_id, problem and the log field: %.2f µs without a network, %.2f with them, so they add %.2f; and %.1f allocations to %.1f, %.0f bytes to %.0f",
		before, after, added, float64(with.allocs-without.allocs)/n, float64(without.allocs)/n,
		float64(with.bytes-without.bytes)/n, float64(without.bytes)/n)
	b.Logf("that is %.1f %% of the %.0f µs of a logged, proxied request (target: at most 3 %%)", 100*added/whole, whole)
	b.ReportMetric(added, "added-cpu-µs/request")
	b.ReportMetric(100*added/whole, "%-of-request")
}

func perRequest(cpu time.Duration, requests int) float64 {
	return float64(cpu) / float64(time.Microsecond) / float64(requests)
}

// loggedRequest is the processor time, in µs, that a gateway under load needs
// for a request that it logs and proxies.
func loggedRequest(b *testing.B) float64 {
	b.Helper()
	us := startUpstreams(b, 1, behaviour{})
	site := strings.ReplaceAll(edgeSiteAt("{$FAIRWAY_LISTEN}", "transport http {\n\t\t\tkeepalive_idle_conns_per_host 64\n\t\t}", false),
		"127.0.0.1:9", addresses(us))
	g := startGateway(b, "{\n\tadmin {$FAIRWAY_ADMIN}\n}\n"+site)
	warm := startFullLoad(b, g.url, 32)
	time.Sleep(length(2 * time.Second))
	warm.end()
	before := cpuOf(b, g)
	l := startFullLoad(b, g.url, 32)
	time.Sleep(length(4 * time.Second))
	seen := l.end()
	seen.bad(http.StatusOK).report(b, "a gateway under load")
	return perRequest(cpuOf(b, g)-before, len(seen))
}

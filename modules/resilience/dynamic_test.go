package resilience

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a DNS server that knows one name: its addresses, and for SRV the
// ports of a host.
type names struct {
	addr string

	mu    sync.Mutex
	hosts [][4]byte
	ports []uint16
}

func startNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{addr: conn.LocalAddr().String()}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := n.answer(buf[:size]); err == nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	return n
}

func (n *names) set(hosts [][4]byte, ports ...uint16) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts, n.ports = hosts, ports
}

func (n *names) answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	q := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
	switch q.Type {
	case dnsmessage.TypeA:
		for _, ip := range n.hosts {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: ip}})
		}
	case dnsmessage.TypeSRV:
		for _, port := range n.ports {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.SRVResource{
				Priority: 1, Weight: 1, Port: port, Target: dnsmessage.MustNewName("host.test."),
			}})
		}
	}
	return m.Pack()
}

// originAt is an upstream on a given address.
func originAt(t *testing.T, addr string, answer http.HandlerFunc) *origin {
	t.Helper()
	o := &origin{t: t, addr: addr}
	o.set(answer)
	o.start()
	t.Cleanup(o.kill)
	return o
}

func dynamicSite(source, options string) string {
	return fmt.Sprintf(`reverse_proxy {
		dynamic %s
		lb_policy resilient {
			policy round_robin
		}
		transport resilient {
			%s
		}
	}`, source, options)
}

func TestDynamic_StateOfAnAddressIsKeptWhileDNSNamesIt(t *testing.T) {
	good := newOrigin(t, nil)
	_, port, _ := net.SplitHostPort(good.addr)
	bad := originAt(t, net.JoinHostPort("127.0.0.2", port), status(500))
	dns := startNames(t)
	dns.set([][4]byte{{127, 0, 0, 1}, {127, 0, 0, 2}})
	source := fmt.Sprintf("a {\nname upstreams.test\nport %s\nresolvers %s\nrefresh 20ms\nversions ipv4\n}", port, dns.addr)
	p := startProxy(t, dynamicSite(source, "breaker 3 failures open 1m\nretry 2 on 500"))
	eventually(t, "the bad address's breaker opens", func() bool {
		if a := p.get("/"); a.status != 200 {
			t.Fatalf("a client saw %d", a.status)
		}
		return state(t, "default", good.addr) != nil && bad.hits.Load() == 3
	})
	time.Sleep(50 * time.Millisecond) // the names are looked up anew, as other objects
	for range 20 {
		p.wantStatuses(200)
	}
	if bad.hits.Load() != 3 || state(t, "default", bad.addr).breaker.State() != Open {
		t.Errorf("an address with an open breaker was asked %d times, want 3", bad.hits.Load())
	}
	dns.set([][4]byte{{127, 0, 0, 2}}) // gone, and back later: it is not forgotten at once
	eventually(t, "only the bad address is left", func() bool { return p.get("/").status == 503 })
	dns.set([][4]byte{{127, 0, 0, 1}, {127, 0, 0, 2}})
	eventually(t, "both are back", func() bool { return p.get("/").status == 200 })
	if bad.hits.Load() != 3 {
		t.Errorf("the open breaker was forgotten: %d", bad.hits.Load())
	}
}

func TestDynamic_SRVRecords(t *testing.T) {
	good, dead := newOrigin(t, nil), newOrigin(t, nil)
	dead.kill()
	dns := startNames(t)
	dns.set([][4]byte{{127, 0, 0, 1}}, portOf(t, good), portOf(t, dead))
	source := fmt.Sprintf("srv _http._tcp.upstreams.test {\nresolvers %s\nrefresh 20ms\n}", dns.addr)
	p := startProxy(t, dynamicSite(source, "breaker 2 failures open 1m\nhttp {\nresolvers "+dns.addr+"\n}"))
	for range 20 {
		if a := p.do(http.MethodPost, "/", "body"); a.status != 200 {
			t.Fatalf("POST: %d %q", a.status, a.body)
		}
	}
	_, port, _ := strings.Cut(dead.addr, ":")
	for _, name := range []string{"host.test.:" + port, "host.test:" + port} {
		if u := find("default", name); u != nil {
			if u.breaker.State() != Open {
				t.Errorf("the breaker of %s is %s", name, u.breaker.State())
			}
			return
		}
	}
	t.Error("no state of the dead upstream")
}

func portOf(t *testing.T, o *origin) uint16 {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", o.addr)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(addr.Port)
}

func TestGroup_ForgetsWhatNobodyAsksFor(t *testing.T) {
	s := &settings{rule: Rule{Failures: 1, Open: time.Minute, Probes: 1}}
	g := newGroup("x", s)
	now := time.Unix(1_000_000, 0)
	for _, dial := range []string{"idle", "used", "forced", "busy"} {
		g.Upstream(dial, s, now)
	}
	g.Upstream("forced", s, now).breaker.Force(Open, now)
	g.Upstream("busy", s, now).started(now)
	for range 70 {
		now = now.Add(time.Minute)
		g.Upstream("used", s, now)
	}
	g.Upstream("new", s, now)
	var left []string
	for _, u := range g.list() {
		left = append(left, u.dial)
	}
	if got := strings.Join(left, " "); got != "busy forced new used" {
		t.Errorf("after 70 minutes the group remembers %s, want all but the idle one", got)
	}
	for n := range maxUpstreams + 10 {
		g.Upstream(fmt.Sprint("host", n), s, now)
	}
	if n := len(g.list()); n != maxUpstreams {
		t.Errorf("the group remembers %d upstreams, want at most %d", n, maxUpstreams)
	}
}

func TestPolicy_EjectsNoMoreThanItsShare(t *testing.T) {
	a, b, c := newOrigin(t, status(500)), newOrigin(t, status(500)), newOrigin(t, nil)
	siteWith := func(share string) string {
		return fmt.Sprintf(`reverse_proxy %s %s %s {
			lb_policy resilient {
				policy round_robin
				max_ejection %s
			}
			transport resilient {
				breaker 1 failures open 1m
				retry off
			}
		}`, a.addr, b.addr, c.addr, share)
	}
	p := startProxy(t, siteWith("67%"))
	eventually(t, "two breakers are open", func() bool {
		p.get("/")
		return a.hits.Load() == 1 && b.hits.Load() == 1
	})
	for range 12 {
		p.wantStatuses(200) // both are left out
	}
	if err := p.load(siteWith("34%")); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for range 30 {
		if p.get("/").status == 503 {
			refused++
		}
	}
	if refused < 10 || refused > 20 || a.hits.Load()+b.hits.Load() != 2 {
		t.Errorf("%d of 30 requests were refused, want about half: one of two open upstreams stays selected, and is not asked (%d)",
			refused, a.hits.Load()+b.hits.Load())
	}
}

func TestPolicy_ProbesGoToTheirUpstreamAndAreLimited(t *testing.T) {
	gate := make(chan struct{})
	sick, well := newOrigin(t, status(500)), newOrigin(t, nil)
	p := startProxy(t, site("breaker 1 failures open 1m probes 2", sick, well))
	p.wantStatuses(500, 200, 200)
	sick.set(func(http.ResponseWriter, *http.Request) { <-gate })
	elapse(t, "default", sick.addr)
	before := well.hits.Load()
	done := make(chan int, 20)
	for range 20 {
		go func() {
			a, _ := p.try(http.MethodGet, "/", "")
			done <- a.status
		}()
	}
	for range 18 { // all but the probes are answered while the probes are held
		if s := <-done; s != 200 {
			t.Errorf("beside the probes: %d", s)
		}
	}
	if n := sick.hits.Load() - 1; n != 2 || well.hits.Load()-before != 18 {
		t.Errorf("%d probes reached the sick upstream, %d requests the other; want 2 and 18", n, well.hits.Load()-before)
	}
	close(gate)
	<-done
	<-done
	if s := state(t, "default", sick.addr).breaker.State(); s != Closed {
		t.Errorf("after two good probes the breaker is %s", s)
	}
}

package resilience

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// rawOrigin answers every connection with what speak writes.
func rawOrigin(t *testing.T, speak func(net.Conn)) *origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	o := &origin{t: t, addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					o.hits.Add(1)
					speak(conn)
				}
			}()
		}
	}()
	return o
}

// wantNothingHeld fails if any request is still accounted for.
func wantNothingHeld(t *testing.T, dials ...string) {
	t.Helper()
	for _, dial := range dials {
		u := state(t, "default", dial)
		eventually(t, "no try on "+dial+" is in flight", func() bool { return u.inFlight.Load() == 0 })
		eventually(t, "no place of "+dial+" is taken", func() bool {
			b := u.bulkhead.Load()
			if b == nil {
				return true
			}
			taken, waiting, _ := b.Depth()
			return taken == 0 && waiting == 0
		})
	}
	groups.Range(func(_, v any) bool {
		b := v.(*Group).budget
		eventually(t, "the budget counts nothing under way", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.under == budgetSlot{}
		})
		return true
	})
}

// Upstreams that misbehave on the wire cost a try each, and hold nothing.
func TestHostile_Upstreams(t *testing.T) {
	endless := func(line string) func(net.Conn) {
		return func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		}
	}
	for name, speak := range map[string]func(net.Conn){
		"closes at once":            func(net.Conn) {},
		"says nothing":              func(c net.Conn) { io.Copy(io.Discard, c) },
		"1xx for ever":              endless("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
		"a header without end":      endless("HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 8000)),
		"headers without end":       func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n"); endless("X-A: b\r\n")(c) },
		"a byte of header a moment": slowly("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
		"not HTTP":                  func(c net.Conn) { io.WriteString(c, "220 smtp ready\r\n") },
		"two lengths": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\nx")
		},
		"half a status line": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 2") },
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := rawOrigin(t, speak), newOrigin(t, nil)
			p := startProxy(t, site("try_timeout 1s\nbreaker 2 failures open 1m\nbulkhead 5\nretry 2\nhttp {\nmax_response_header 64KiB\n}", bad, good))
			for range 4 {
				if a := p.get("/"); a.status != 200 || a.body != "fine" {
					t.Errorf("%d %q", a.status, a.body)
				}
			}
			if n := bad.hits.Load(); n < 2 || n > 3 { // net/http may ask once more on its own
				t.Errorf("the hostile upstream was asked %d times before its breaker opened, want 2", n)
			}
			wantNothingHeld(t, bad.addr, good.addr)
		})
	}
}

func slowly(text string) func(net.Conn) {
	return func(c net.Conn) {
		for _, b := range []byte(text) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// A client may go at any moment: while it waits in the queue, while the upstream
// is silent, while a hedge is under way, in the middle of a body.
func TestHazard_ClientsGoAtEveryStage(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/body") {
			w.Header().Set("Content-Length", "1000000")
			w.Write(make([]byte, 100_000))
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
	a, b := newOrigin(t, answer), newOrigin(t, answer)
	p := startProxy(t, "resilience {\ntimeout 5s\nbulkhead 40 queue 10 wait 5s\n}\n"+
		site("try_timeout 5s\nbulkhead 1 queue 3 wait 5s\nhedge 5ms\nretry 2\nbreaker 1 failures open 1m", a, b))
	var n atomic.Int64
	parallel(8, func() {
		client := http.Client{Timeout: 15 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
		for range 10 {
			path := [...]string{"/body", "/silent"}[n.Add(1)%2]
			if res, err := client.Get("http://" + p.addr + path); err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
	})
	wantNothingHeld(t, a.addr, b.addr)
	for _, o := range []*origin{a, b} {
		if f := state(t, "default", o.addr).breaker.Facts(time.Now()); f.State != "closed" {
			t.Errorf("clients that went away opened a breaker: %+v", f)
		}
	}
}

// A stream holds its place while it flows and gives it back at its end; what it
// says counts as a success long before.
func TestHazard_Streams(t *testing.T) {
	end := make(chan struct{})
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for n := 0; ; n++ {
			fmt.Fprintf(w, "data: %d\n\n", n)
			w.(http.Flusher).Flush()
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	p := startProxy(t, "resilience {\ntimeout 1s\n}\n"+site("try_timeout 1s\nbulkhead 1\nbreaker 1 failures open 1ms probes 1", o))
	res, err := http.Get("http://" + p.addr + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events := bufio.NewReader(res.Body)
	for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond; {
		if _, err := events.ReadString('\n'); err != nil {
			t.Fatalf("a stream ended after %s: %v", time.Since(begun), err)
		}
	}
	if a := p.get("/"); a.status != 503 {
		t.Errorf("the stream holds the only place, and another request got %d", a.status)
	}
	close(end)
	io.Copy(io.Discard, events)
	eventually(t, "the place is free", func() bool { return p.get("/").status == 200 })
	wantNothingHeld(t, o.addr)
}

// A breaker that is half-open must find its way back whatever its probes end
// in: a probe that is upgraded, cancelled or broken off is not lost.
func TestHazard_ProbesThatEndOddly(t *testing.T) {
	for name, probe := range map[string]struct {
		answer http.HandlerFunc
		client func(p *proxy)
		want   int // of the next request
	}{
		"upgraded": {upgradeEcho, func(p *proxy) { dialUpgrade(p) }, 200},
		"its client went": {hang, func(p *proxy) {
			c := http.Client{Timeout: 30 * time.Millisecond}
			c.Get("http://" + p.addr)
		}, 200},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			w.Write([]byte("half"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, func(p *proxy) { p.try(http.MethodGet, "/", "") }, 503},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, status(500))
			p := startProxy(t, breakerSite("1m", o.addr))
			p.wantStatuses(500, 500, 500, 500, 500, 503)
			elapse(t, "default", o.addr)
			o.set(probe.answer)
			probe.client(p)
			wantNothingHeld(t, o.addr)
			o.set(status(200))
			p.wantStatuses(probe.want)
			if probe.want == 503 {
				elapse(t, "default", o.addr)
			}
			p.wantStatuses(200, 200) // it closes in the end
		})
	}
}

func dialUpgrade(p *proxy) {
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: "+p.addr+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if line, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "101") {
		p.t.Fatalf("the upgrade was answered with %q", line)
	}
}

// Under overload the health check and who pays are served; the others are shed
// with a 503 that says when to come back.
func TestPriority_HealthChecksAndPayingUsersFirstUnderOverload(t *testing.T) {
	o := newOrigin(t, func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Millisecond) })
	p := startProxy(t, fmt.Sprintf(`map {path} {class} {
		/health  first
		default  {header.X-Plan}
	}
	resilience {
		bulkhead 2 queue 6 wait 20s
		priority {class} {
			high first pro
			low  free
		}
	}
	reverse_proxy %s`, o.addr))
	var shed, served [3]atomic.Int64
	stop := time.Now().Add(time.Second)
	var workers atomic.Int64
	parallel(18, func() {
		kind := 2 // free
		switch n := workers.Add(1); {
		case n == 1:
			kind = 0 // a health check
		case n <= 4:
			kind = 1 // pro
		}
		for time.Now().Before(stop) {
			req, _ := http.NewRequest(http.MethodGet, "http://"+p.addr+[...]string{"/health", "/", "/"}[kind], nil)
			req.Header.Set("X-Plan", [...]string{"", "pro", "free"}[kind])
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode == 200 {
				served[kind].Add(1)
				continue
			}
			shed[kind].Add(1)
			if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
				t.Errorf("shed with %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
			}
		}
	})
	if shed[0].Load()+shed[1].Load() > 0 || served[0].Load() == 0 || served[1].Load() == 0 || shed[2].Load() == 0 {
		t.Errorf("served %d health checks, %d pro, %d free; shed %d, %d, %d; want only free ones shed",
			served[0].Load(), served[1].Load(), served[2].Load(), shed[0].Load(), shed[1].Load(), shed[2].Load())
	}
}

// A good and a rejected reload under load: no request fails that would not have,
// and no count is lost.
func TestTransport_ReloadsUnderLoad(t *testing.T) {
	sick, well := newOrigin(t, status(500)), newOrigin(t, nil)
	good := site("breaker 3 failures open 1m\nretry 2 on 500", sick, well)
	p := startProxy(t, good)
	stop := make(chan struct{})
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		parallel(4, func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := p.try(http.MethodGet, "/", "")
				if err != nil { // the kernel resets what the old listener had not accepted
					a, err = p.try(http.MethodGet, "/", "")
				}
				if err != nil || a.status != 200 {
					t.Errorf("%d %v", a.status, err)
				}
				sent.Add(1)
			}
		})
	}()
	flow := func() {
		before := sent.Load()
		eventually(t, "requests flow", func() bool { return sent.Load() > before+20 })
	}
	flow()
	for n := range 3 {
		if err := p.load(good + fmt.Sprintf("\nheader X-Reload %d", n)); err != nil {
			t.Fatal(err)
		}
		flow()
		if err := p.load(good + "\nno_such_directive"); err == nil {
			t.Fatal("a wrong config loads")
		}
		flow()
	}
	close(stop)
	<-done
	if n := sick.hits.Load(); n < 3 || n > 6 { // those under way when it opened
		t.Errorf("a sick upstream was asked %d times over six reloads, want its 3 failures", n)
	}
	wantNothingHeld(t, sick.addr, well.addr)
}

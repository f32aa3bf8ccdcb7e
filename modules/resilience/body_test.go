package resilience

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes on a connection of its own and returns the status of the
// first response, 0 without one.
func (p *proxy) raw(request string, halfClose bool) int {
	p.t.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, request)
	if halfClose {
		conn.(*net.TCPConn).CloseWrite()
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

func TestTransport_BrokenRequestBodiesAreTheClientsFault(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	p := startProxy(t, "resilience {\nfallback respond 503 sorry\n}\n"+site("breaker 3 failures open 1m\nretry 2", o))
	head := "POST / HTTP/1.1\r\nHost: " + p.addr + "\r\n"
	for range 5 {
		if got := p.raw(head+"Transfer-Encoding: chunked\r\n\r\nzz\r\n", false); got != 400 {
			t.Errorf("a malformed chunk: %d, want 400", got)
		}
		if got := p.raw(strings.Replace(head, "POST", "PUT", 1)+"Content-Length: 100\r\n\r\n0123456789", true); got != 400 && got != 408 && got != 499 && got != 0 {
			t.Errorf("a body that is cut off: %d, want 400 or nothing", got)
		}
		if got := p.raw(head+"Content-Length: 100\r\n\r\n0123456789", true); got != 400 && got != 408 && got != 499 && got != 0 {
			t.Errorf("a body that is cut off: %d, want 400 or nothing", got)
		}
	}
	if f := state(t, "default", o.addr).breaker.Facts(time.Now()); f.State != "closed" || f.Failures != 0 {
		t.Errorf("broken clients count against the upstream: %+v", f)
	}
	if a := p.do(http.MethodPost, "/", "fine"); a.body != "fine" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// A client that sends its body slowly, or stops, is not a slow upstream.
func TestTransport_SlowRequestBodiesAreTheClientsFault(t *testing.T) {
	for name, options := range map[string]string{
		"sent on as it comes": "breaker 1 failures open 1m\ntry_timeout 1s",
		"read in advance":     "breaker 1 failures open 1m\ntry_timeout 1s\nretry 1 {\nmethods POST\n}",
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
			p := startProxy(t, "resilience {\ntimeout 2s\nfallback respond 503 sorry\n}\n"+site(options, o))
			head := "POST / HTTP/1.1\r\nHost: " + p.addr + "\r\nContent-Length: 100\r\n\r\n"
			if got := p.raw(head+"0123", false); got != 408 {
				t.Errorf("a body that stops: %d, want 408", got)
			}
			u := state(t, "default", o.addr)
			eventually(t, "nothing is held", func() bool { return u.inFlight.Load() == 0 })
			if u.breaker.State() != Closed {
				t.Error("a slow client opened the breaker")
			}
			if a := p.do(http.MethodPost, "/", "fine"); a.body != "fine" {
				t.Errorf("%d %q", a.status, a.body)
			}
		})
	}
}

func TestTransport_TryTimeoutCountsFromTheEndOfTheBody(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
	})
	p := startProxy(t, site("try_timeout 1s\nretry off", o))
	for path, want := range map[string]int{"/": 200, "/hang": 504} {
		reader, writer := io.Pipe()
		go func() {
			for range 5 {
				time.Sleep(250 * time.Millisecond)
				fmt.Fprint(writer, "chunk")
			}
			writer.Close()
		}()
		res, err := http.Post("http://"+p.addr+path, "text/plain", reader)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s after a slow upload: %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestTransport_PassesNoH2CUpgrade(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s", r.Header["Upgrade"], r.Header["Http2-Settings"], r.Header["Connection"])
	})
	p := startProxy(t, site("", o))
	req, _ := http.NewRequest(http.MethodGet, "http://"+p.addr, nil)
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"H2C"}, "Http2-Settings": {"AAMAAABkAAQAAP__"}}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); string(got) != "[]|[]|[]" {
		t.Errorf("the upstream saw %s", got)
	}
}

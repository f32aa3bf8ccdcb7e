//go:build !race

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

// An answer before the end of a long body must not make the server take the
// rest of it for another request. Not with the race detector: Caddy's access log
// reads the length of a body that is still being read, which is a race of its own.
func TestTransport_EarlyAnswersStayInStep(t *testing.T) {
	o := newOrigin(t, status(413))
	p := startProxy(t, site("breaker off", o))
	body := strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", 40_000)
	for range 20 {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		go fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", p.addr, len(body), body)
		r := bufio.NewReader(conn)
		if res, err := http.ReadResponse(r, nil); err == nil {
			io.Copy(io.Discard, res.Body)
			conn.SetDeadline(time.Now().Add(100 * time.Millisecond)) // nothing more is to come
			if again, err := http.ReadResponse(r, nil); err == nil {
				t.Fatalf("the rest of a body was answered as a request: %d after %d", again.StatusCode, res.StatusCode)
			}
		}
		conn.Close()
	}
}

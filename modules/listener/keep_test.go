package listener

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lend opens the network on a port, 0 for any.
func lend(t *testing.T, port int) net.Listener {
	t.Helper()
	l, err := listen(t.Context(), network, "127.0.0.1", strconv.Itoa(port), 0, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.(net.Listener).Close() })
	return l.(net.Listener)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// server answers every request with its name until it is shut down.
func serve(t *testing.T, l net.Listener, name string) *http.Server {
	t.Helper()
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, name)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return s
}

func ask(client *http.Client, addr net.Addr) (string, error) {
	resp, err := client.Get("http://" + addr.String())
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// connecting makes a client that opens a connection for every request.
func connecting() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
}

func TestKeep_NoConnectionIsLostBetweenServers(t *testing.T) {
	port := freePort(t)
	l := lend(t, port)
	old := serve(t, l, "0")
	var stop atomic.Bool
	var asked, lost atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			client := connecting()
			for !stop.Load() {
				if _, err := ask(client, l.Addr()); err != nil {
					lost.Add(1)
					t.Log(err)
				}
				asked.Add(1)
			}
		})
	}
	for i := range 50 {
		next := serve(t, lend(t, port), strconv.Itoa(i+1))
		if err := old.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		old = next
	}
	stop.Store(true)
	clients.Wait()
	if lost.Load() > 0 || asked.Load() == 0 {
		t.Errorf("%d of %d connections were lost", lost.Load(), asked.Load())
	}
}

func TestKeep_NewestServerThatAsksGetsTheConnections(t *testing.T) {
	port := freePort(t)
	old := lend(t, port)
	serve(t, old, "old")
	// A config that failed after it opened its listeners may leave one behind.
	lend(t, port)
	if got, err := ask(connecting(), old.Addr()); got != "old" || err != nil {
		t.Errorf("a listener that nobody serves took a connection: %q, %v", got, err)
	}
	next := serve(t, lend(t, port), "new")
	awaitAnswer(t, old.Addr(), "new")
	next.Close()
	awaitAnswer(t, old.Addr(), "old")
}

// awaitAnswer polls: one connection may already be on its way to another server.
func awaitAnswer(t *testing.T, addr net.Addr, want string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if got, _ := ask(connecting(), addr); got == want {
			return
		}
	}
	t.Fatalf("%q never answered", want)
}

func TestKeep_LastOneClosesTheSocket(t *testing.T) {
	port := freePort(t)
	first, second := lend(t, port), lend(t, port)
	for _, l := range []net.Listener{first, second, first} {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close = %v, want net.ErrClosed", err)
	}
	again, err := net.Listen("tcp", first.Addr().String())
	if err != nil {
		t.Fatalf("the port is still held: %v", err)
	}
	again.Close()
}

func TestKeep_PortOfAnotherProcessIsAnError(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	port := strconv.Itoa(other.Addr().(*net.TCPAddr).Port)
	if _, err := listen(t.Context(), network, "127.0.0.1", port, 0, net.ListenConfig{}); err == nil {
		t.Error("a port in use was shared")
	}
}

func TestKeep_AnyPortIsAnotherEachTime(t *testing.T) {
	if a, b := lend(t, 0), lend(t, 0); a.Addr().String() == b.Addr().String() {
		t.Errorf("both listen on %s", a.Addr())
	}
}

package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// origin is an upstream in this process that can do what the user service
// cannot: stream, hold a request, speak WebSocket, count.
//
//	/cached/…   may be kept for ten minutes; the body says how often it was asked
//	/events     one server-sent event every 20 ms
//	/echo       a WebSocket that echoes
//	/held       answers when release is called
//	/…          answers ok, not to be stored
type origin struct {
	addr string

	mu    sync.Mutex
	asked map[string]int

	held    atomic.Int32 // requests waiting in /held
	release func()
}

func startOrigin(t testing.TB) *origin {
	t.Helper()
	gate := make(chan struct{})
	o := &origin{asked: make(map[string]int), release: sync.OnceFunc(func() { close(gate) })}
	mux := http.NewServeMux()
	mux.HandleFunc("/cached/", o.cached)
	mux.HandleFunc("/events", events)
	mux.Handle("/echo", websocket.Handler(func(ws *websocket.Conn) { _, _ = io.Copy(ws, ws) }))
	mux.HandleFunc("/held", func(w http.ResponseWriter, _ *http.Request) {
		o.held.Add(1)
		<-gate
		fmt.Fprint(w, "released")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.Copy(w, r.Body)
		fmt.Fprint(w, "ok")
	})
	s := httptest.NewServer(mux)
	o.addr = strings.TrimPrefix(s.URL, "http://")
	t.Cleanup(func() {
		o.release()
		s.CloseClientConnections()
		s.Close()
	})
	return o
}

func (o *origin) cached(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked[r.URL.Path]++
	n := o.asked[r.URL.Path]
	o.mu.Unlock()
	w.Header().Set("Cache-Control", "public, max-age=600")
	fmt.Fprintf(w, "answer %d", n)
}

// times is how often a path below /cached/ was asked for.
func (o *origin) times(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[path]
}

func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	for n := 0; r.Context().Err() == nil; n++ {
		if _, err := fmt.Fprintf(w, "data: %d\n\n", n); err != nil {
			return
		}
		_ = flush.Flush()
		time.Sleep(20 * time.Millisecond)
	}
}

// deadEnd accepts connections, counts them and closes them without an answer.
type deadEnd struct {
	addr  string
	count atomic.Int32
	ln    net.Listener
}

// startDeadEnd listens on addr, or on a free port if addr is empty.
func startDeadEnd(t testing.TB, addr string) *deadEnd {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	d := &deadEnd{addr: ln.Addr().String(), ln: ln}
	t.Cleanup(d.close)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			d.count.Add(1)
			_ = conn.Close()
		}
	}()
	return d
}

func (d *deadEnd) close() { _ = d.ln.Close() }

package process

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// HTTPReady returns a check for WaitFor: a GET of url answers below 400.
func HTTPReady(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode >= 400 {
			return fmt.Errorf("GET %s answers %s", url, resp.Status)
		}
		return nil
	}
}

// TCPReady returns a check for WaitFor: addr accepts a connection.
func TCPReady(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

var taken struct {
	sync.Mutex
	ports map[int]bool
}

// FreePort returns a loopback port that nothing listens on and that was not
// returned before. It lies below the range from which Linux takes the local
// ports of outgoing connections, so no connection can occupy it meanwhile.
func FreePort() int {
	const low, high = 21000, 32000
	taken.Lock()
	defer taken.Unlock()
	if taken.ports == nil {
		taken.ports = make(map[int]bool)
	}
	for {
		port := low + rand.IntN(high-low)
		if taken.ports[port] {
			continue
		}
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		_ = ln.Close()
		taken.ports[port] = true
		return port
	}
}

// FreeAddr returns FreePort as 127.0.0.1:PORT.
func FreeAddr() string { return "127.0.0.1:" + strconv.Itoa(FreePort()) }

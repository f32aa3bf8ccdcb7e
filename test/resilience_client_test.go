package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// leanClient sends one GET over and over for little of the processor time that
// the programs under test need. It keeps connections alive, and takes nothing
// but responses with a Content-Length. Unlike net/http it never sends anything
// again by itself.
type leanClient struct {
	addr    string
	request []byte

	mu   sync.Mutex
	idle []*leanConn
}

type leanConn struct {
	net.Conn
	r *bufio.Reader
}

func newLeanClient(t testing.TB, url string) *leanClient {
	t.Helper()
	addr, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	return &leanClient{
		addr:    addr,
		request: fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n", path, addr),
	}
}

// get sends the request and reads the response. It returns its status.
func (c *leanClient) get() (int, error) {
	conn, err := c.take()
	if err != nil {
		return 0, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(c.request); err != nil {
		_ = conn.Close()
		return 0, err
	}
	status, open, err := conn.response()
	if err != nil || !open {
		_ = conn.Close()
		return status, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, conn)
	return status, nil
}

func (c *leanClient) take() (*leanConn, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		conn := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return conn, nil
	}
	c.mu.Unlock()
	conn, err := net.DialTimeout("tcp", c.addr, patience)
	if err != nil {
		return nil, err
	}
	return &leanConn{Conn: conn, r: bufio.NewReader(conn)}, nil
}

func (c *leanClient) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.idle {
		_ = conn.Close()
	}
	c.idle = nil
}

var errNoLength = errors.New("a response without a Content-Length")

// response reads a response to its end. It tells whether the connection stays
// open; a status without an error is a complete response.
func (c *leanConn) response() (status int, open bool, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	if len(line) < 12 {
		return 0, false, fmt.Errorf("a status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, false, err
	}
	length, open := -1, true
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		name, value, field := strings.Cut(strings.TrimSpace(string(line)), ": ")
		switch {
		case strings.EqualFold(name, "Content-Length"):
			if length, err = strconv.Atoi(value); err != nil {
				return 0, false, err
			}
		case strings.EqualFold(name, "Connection"):
			open = value != "close"
		}
		if !field {
			break
		}
	}
	if length < 0 {
		return 0, false, errNoLength
	}
	if _, err := io.CopyN(io.Discard, c.r, int64(length)); err != nil {
		return 0, false, fmt.Errorf("after status %d: %w", status, err)
	}
	return status, open, nil
}

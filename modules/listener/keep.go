// Package listener keeps a listening socket open over reloads. It adds the
// network `keep`, which is TCP:
//
//	{
//		default_bind keep/
//	}
//
// or, for one site, `bind keep/127.0.0.1`. In JSON: "listen": ["keep/:8080"].
//
// On Unix, Caddy opens a new socket for every config (SO_REUSEPORT) and closes
// the old one. Connections that the kernel has accepted and the old server has
// not are then reset, one in a thousand under load. Here one socket serves all
// configs. A server that is being shut down also drops a connection whose first
// request it has not read yet: so new connections wait in the kernel, for some
// 50 ms, from the moment a new config opens its listeners until it serves.
//
// What no listener can help is a client that sends a request on a kept-alive
// connection in the moment in which the old server closes it. Clients know that
// (RFC 9112, 9.3.1) and send it again.
//
// A port that another process listens on is an error here, where Caddy would
// share it with that process in silence.
package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// network is the name in front of the slash of an address.
const network = "keep"

func init() {
	caddy.RegisterNetwork(network, listen)
	// HTTP/3 is UDP, where Caddy shares the socket itself.
	caddyhttp.RegisterNetworkHTTP3(network, "udp")
}

// sockets are the open sockets by key.
var sockets = caddy.NewUsagePool()

// anyPort numbers sockets whose port the system chooses: each is its own.
var anyPort atomic.Uint64

// listen is a caddy.ListenerFunc.
func listen(ctx context.Context, _, host, portRange string, offset uint, config net.ListenConfig) (any, error) {
	first, err := caddy.ParseNetworkAddress(caddy.JoinNetworkAddress("tcp", host, portRange))
	if err != nil {
		return nil, err
	}
	key := first.JoinHostPort(offset)
	address := key
	if first.StartPort == 0 {
		key = fmt.Sprintf("%s#%d", key, anyPort.Add(1))
	}
	pooled, shared, err := sockets.LoadOrNew(key, func() (caddy.Destructor, error) {
		base, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		return newSocket(base), nil
	})
	if err != nil {
		return nil, err
	}
	l := &lease{
		socket: pooled.(*socket), key: key, keepAlive: config.KeepAliveConfig,
		connections: make(chan accepted), done: make(chan struct{}),
	}
	if shared {
		l.takeOver()
		time.Sleep(settle)
	}
	return l, nil
}

const (
	// settle is how long a server that is about to be replaced has for reading
	// the first request of the connections it took.
	settle = 50 * time.Millisecond

	// patience is how long connections are held back for a new server that was
	// announced and does not ask.
	patience = time.Second
)

// socket is one listening socket and those who want its connections. It may be
// used by many goroutines.
type socket struct {
	base net.Listener
	gone chan struct{} // closed with the socket

	mu      sync.Mutex
	asked   []*lease      // who called Accept, oldest first; the last gets all
	heir    *lease        // for whom connections are held back, or nil
	changed chan struct{} // closed when one of them changes
}

// accepted is what the socket's Accept returned.
type accepted struct {
	conn net.Conn
	err  error
}

func newSocket(base net.Listener) *socket {
	s := &socket{base: base, gone: make(chan struct{}), changed: make(chan struct{})}
	go s.serve()
	return s
}

// Destruct closes the socket. The UsagePool calls it after the last lease.
func (s *socket) Destruct() error {
	close(s.gone)
	return s.base.Close()
}

// serve hands every connection to a lease that asks, one at a time: the others
// queue in the kernel, and an error, such as too many open files, is repeated no
// faster than the server asks again.
func (s *socket) serve() {
	for {
		conn, err := s.base.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.deliver(accepted{conn, err})
	}
}

// deliver waits until a lease takes the connection. Between two configs there
// may be none for a moment.
func (s *socket) deliver(a accepted) {
	for {
		newest, changed := s.newest()
		if newest == nil {
			select {
			case <-changed:
				continue
			case <-s.gone:
				a.discard()
				return
			}
		}
		select {
		case newest.connections <- a:
			return
		case <-newest.done:
		}
	}
}

func (a accepted) discard() {
	if a.conn != nil {
		_ = a.conn.Close() // nobody is left to tell
	}
}

// newest returns who gets the next connection. If that is nobody for now, it
// returns nil and what to wait for.
func (s *socket) newest() (*lease, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heir != nil || len(s.asked) == 0 {
		return nil, s.changed
	}
	return s.asked[len(s.asked)-1], nil
}

// change alters who gets connections and wakes the one who gives them out.
func (s *socket) change(alter func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	alter()
	close(s.changed)
	s.changed = make(chan struct{})
}

// takeOver holds connections back until l asks for them.
func (l *lease) takeOver() {
	l.change(func() { l.heir = l })
	time.AfterFunc(patience, l.yield)
}

// yield ends the holding back for l.
func (l *lease) yield() {
	l.change(func() {
		if l.heir == l {
			l.heir = nil
		}
	})
}

func (l *lease) join() {
	l.change(func() { l.asked = append(l.asked, l) })
	l.yield()
}

func (l *lease) leave() {
	l.change(func() {
		l.asked = slices.DeleteFunc(l.asked, func(other *lease) bool { return other == l })
	})
	l.yield()
}

// lease is the listener of one config.
type lease struct {
	*socket
	key         string
	keepAlive   net.KeepAliveConfig
	connections chan accepted
	done        chan struct{} // closed with the lease
	ask         sync.Once
	end         sync.Once
}

// Accept waits for the next connection. From its first call on, this lease gets
// the connections that an older one got before.
func (l *lease) Accept() (net.Conn, error) {
	l.ask.Do(l.join)
	select {
	case a := <-l.connections:
		if tcp, ok := a.conn.(*net.TCPConn); ok && l.keepAlive.Enable {
			_ = tcp.SetKeepAliveConfig(l.keepAlive) // the connection works without
		}
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends the lease; the last one closes the socket.
func (l *lease) Close() (err error) {
	l.end.Do(func() {
		close(l.done)
		l.leave()
		_, err = sockets.Delete(l.key)
	})
	return err
}

// Addr is the socket's address.
func (l *lease) Addr() net.Addr { return l.base.Addr() }

var _ net.Listener = (*lease)(nil)

// Package redistest starts real redis-servers for tests. It fails the test if
// redis-server is not installed: nothing here is skipped.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startLimit is how long a server may take to answer its first PING.
const startLimit = 20 * time.Second

// Server is a redis-server on a free loopback port, with a folder of its own. It
// ends with the test.
type Server struct {
	tb   testing.TB
	port int
	dir  string
	args []string
	cmd  *exec.Cmd
}

// Start starts a server that persists nothing. args are added to its command
// line, such as "--maxmemory", "10mb".
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := &Server{tb: tb, port: freePort(tb), dir: tb.TempDir(), args: args}
	tb.Cleanup(s.Kill)
	s.Restart()
	return s
}

// Addr is host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is how a config names the server.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Client returns a client of the test's own, closed with the test.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr()})
	s.tb.Cleanup(func() { c.Close() })
	return c
}

// Restart starts the server on the same port, empty, and waits until it answers.
func (s *Server) Restart() {
	s.tb.Helper()
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "no",
	}, s.args...)
	s.run(exec.Command("redis-server", args...))
}

func (s *Server) run(cmd *exec.Cmd) {
	s.tb.Helper()
	s.cmd = cmd
	// The server must not outlive a test process that is killed.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatalf("starting redis-server (is it installed?): %v", err)
	}
	if err := s.await(); err != nil {
		s.tb.Fatalf("redis-server on %s: %v", s.Addr(), err)
	}
}

// startSentinel starts a Sentinel, which keeps its config in a file.
func startSentinel(tb testing.TB, master *Server) *Server {
	tb.Helper()
	s := &Server{tb: tb, port: freePort(tb), dir: tb.TempDir()}
	tb.Cleanup(s.Kill)
	file := filepath.Join(s.dir, "sentinel.conf")
	config := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor %s 127.0.0.1 %d 2\n"+
		"sentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 3000\n",
		s.port, s.dir, sentinelName, master.port, sentinelName, sentinelName)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.run(exec.Command("redis-server", file, "--sentinel"))
	return s
}

func (s *Server) await() error {
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1})
	defer c.Close()
	var err error
	for end := time.Now().Add(startLimit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = c.Ping(context.Background()).Err(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no answer within %s: %w", startLimit, err)
}

// Kill ends the server at once, as a crash would. It is harmless to call twice.
func (s *Server) Kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Pause stops the server without closing its connections, as a frozen machine
// would.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("sending %v to redis-server: %v", sig, err)
	}
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Package pgtest runs a real PostgreSQL for tests: its own cluster in a
// temporary folder, on a free loopback port, stopped when the tests end.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestX(t *testing.T) { url := pgtest.Database(t) … }
//
// A machine without PostgreSQL fails the test. It does not skip it: a store that
// was tried on one database only is not tried.
package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// cluster is the PostgreSQL of this test process.
type cluster struct {
	once sync.Once
	err  error
	server

	mu sync.Mutex
	n  int // databases made so far
}

// server is one running PostgreSQL and its folder.
type server struct {
	dir  string
	port int
	cmd  *exec.Cmd
	log  *bytes.Buffer // complete when done is closed
	done chan struct{}
}

var shared cluster

// Main runs the tests of a package and then stops the cluster, if a test
// started one. It returns the exit code.
func Main(m *testing.M) int {
	defer shared.stop()
	return m.Run()
}

// Database returns the URL of a fresh, empty database, and starts the cluster if
// this is the first. The package's TestMain has to call Main.
func Database(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.err = shared.start() })
	if shared.err != nil {
		t.Fatalf("starting PostgreSQL: %v", shared.err)
	}
	name, err := shared.create(t.Context())
	if err != nil {
		t.Fatalf("making a database: %v", err)
	}
	return shared.url(name)
}

func (c *server) url(database string) string {
	return fmt.Sprintf("postgres://fairway@127.0.0.1:%d/%s?sslmode=disable", c.port, database)
}

func (c *cluster) create(ctx context.Context) (string, error) {
	c.mu.Lock()
	c.n++
	name := "test_" + strconv.Itoa(c.n)
	c.mu.Unlock()
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name)
	return name, err
}

func (c *server) start() error {
	initdb, err := find("initdb")
	if err != nil {
		return err
	}
	owner, err := credential()
	if err != nil {
		return err
	}
	if c.dir, err = makeDir(owner); err != nil {
		return err
	}
	data := filepath.Join(c.dir, "data")
	if err := command(c.dir, owner, initdb, "-D", data, "-U", "fairway", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"); err != nil {
		return err
	}
	if c.port, err = freePort(); err != nil {
		return err
	}
	c.run(filepath.Join(filepath.Dir(initdb), "postgres"), data, owner)
	return c.wait()
}

// command runs a program to its end.
func command(dir string, owner *syscall.Credential, path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.SysProcAttr = dir, sysProcAttr(owner)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(path), err, out)
	}
	return nil
}

// run starts the server from a goroutine that keeps its thread until the server
// ends: Linux ties the life of the child (Pdeathsig) to that of the thread.
func (c *server) run(postgres, data string, owner *syscall.Credential) {
	c.cmd = exec.Command(postgres, "-D", data, "-p", strconv.Itoa(c.port), "-k", c.dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200")
	c.cmd.Dir, c.cmd.SysProcAttr = c.dir, sysProcAttr(owner)
	c.done, c.log = make(chan struct{}), &bytes.Buffer{}
	c.cmd.Stderr = c.log
	started := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(c.done)
		err := c.cmd.Start()
		close(started)
		if err == nil {
			_ = c.cmd.Wait()
		} else {
			c.log.WriteString(err.Error())
		}
	}()
	<-started
}

func (c *server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.done:
			return fmt.Errorf("postgres ended at once:\n%s", c.log)
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the server and removes the folder.
func (c *server) stop() {
	c.end(os.Interrupt) // a fast shutdown
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

// end sends a signal to the server, by pid, and waits until it is gone.
func (c *server) end(s os.Signal) {
	if c.cmd == nil || c.cmd.Process == nil {
		return
	}
	_ = c.cmd.Process.Signal(s)
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// find looks for a server program in PATH and where Debian and Red Hat put it.
func find(program string) (string, error) {
	if p, err := exec.LookPath(program); err == nil {
		return filepath.EvalSymlinks(p) // its siblings are where it really is
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/pgsql-*/bin/", "/opt/homebrew/opt/postgresql*/bin/"} {
		if found, _ := filepath.Glob(pattern + program); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%s is not installed; the tests need PostgreSQL's server programs", program)
}

// credential returns the user postgres when the tests run as root, whom
// PostgreSQL refuses to serve, and otherwise nil.
func credential() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("running as root needs the user postgres: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// makeDir makes a folder that the server's user owns. It lies directly in the
// system's temporary folder, since that of a test may be closed to others.
func makeDir(owner *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("/tmp", "fairway-pg-")
	if err != nil || owner == nil {
		return dir, err
	}
	return dir, os.Chown(dir, int(owner.Uid), int(owner.Gid))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

package test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/test/process"
)

const (
	// patience is how long anything may take that needs no waiting by design.
	// Only something broken takes as long.
	patience = 60 * time.Second

	// stopGrace is how long a program may take to stop by itself.
	stopGrace = 45 * time.Second
)

// gateway is one running bin/fairway.
type gateway struct {
	*process.Process
	t     testing.TB
	url   string // http://127.0.0.1:PORT
	admin string // the same of Caddy's admin endpoint

	spec  process.Spec
	ready []func(context.Context) error
}

// startGateway starts a gateway with a Caddyfile that takes its addresses from
// FAIRWAY_LISTEN and FAIRWAY_ADMIN, as Caddyfile.example does, and waits until
// it listens. env adds variables, as KEY=value.
func startGateway(t testing.TB, caddyfile string, env ...string) *gateway {
	t.Helper()
	listen, admin := process.FreeAddr(), process.FreeAddr()
	g := &gateway{t: t, url: "http://" + listen, admin: "http://" + admin}
	_, port, _ := strings.Cut(listen, ":")
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "Caddyfile"), caddyfile)
	g.spec = process.Spec{
		Name: "fairway-" + port, Path: fairway(t), Dir: gatewayDir(t, dir),
		Args: []string{"run", "--config", config, "--adapter", "caddyfile"},
		Env: append([]string{
			"FAIRWAY_LISTEN=:" + port, "FAIRWAY_ADMIN=" + admin, "FAIRWAY_BIND=127.0.0.1",
			"HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir,
		}, env...),
	}
	g.ready = []func(context.Context) error{process.TCPReady(listen), process.HTTPReady(g.admin + "/config/")}
	g.restart()
	return g
}

// restart starts the gateway, again if it has ended, at the same addresses.
func (g *gateway) restart() {
	g.t.Helper()
	g.Process = start(g.t, g.spec, g.ready...)
}

// gatewayDir is a working folder in which the example's relative paths hold.
func gatewayDir(t testing.TB, dir string) string {
	t.Helper()
	schemas, err := filepath.Abs(filepath.Join(root, "schemas"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(schemas, filepath.Join(dir, "schemas")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// load sends a Caddyfile to POST /load, as `fairway reload` does, on a connection
// of its own: the config that it replaces closes those of its admin endpoint.
func (g *gateway) load(caddyfile string) answer {
	g.t.Helper()
	return request{
		method: http.MethodPost, url: g.admin + "/load", body: caddyfile,
		header: map[string]string{"Content-Type": "text/caddyfile", "Cache-Control": "must-revalidate", "Connection": "close"},
	}.send(g.t)
}

// config is the running config as the admin endpoint shows it.
func (g *gateway) config() string {
	g.t.Helper()
	return get(g.admin+"/config/").send(g.t).want(g.t, http.StatusOK).body
}

// userService is one bin/users on SQLite, which can be killed and started again
// with the same address and data.
type userService struct {
	*process.Process
	t    testing.TB
	addr string
	spec process.Spec
}

// startUsers starts a user service on a free port.
func startUsers(t testing.TB, env ...string) *userService {
	t.Helper()
	return startUsersAt(t, process.FreeAddr(), env...)
}

// startUsersAt starts a user service whose password hashing is cheap.
func startUsersAt(t testing.TB, addr string, env ...string) *userService {
	t.Helper()
	u := &userService{t: t, addr: addr}
	dir := t.TempDir()
	u.spec = process.Spec{
		Name: "users", Path: users(t), Dir: dir,
		Args: []string{"serve", "--listen", u.addr, "--data", filepath.Join(dir, "data")},
		Env:  append([]string{"USERS_INSECURE_TEST_ARGON2=true"}, env...),
	}
	u.restart()
	return u
}

func (u *userService) restart() {
	u.t.Helper()
	u.Process = start(u.t, u.spec, process.HTTPReady("http://"+u.addr+"/health"))
}

// start starts a program and waits until all the checks hold. It ends with the
// test, and shows its log if the test fails.
func start(t testing.TB, s process.Spec, ready ...func(context.Context) error) *process.Process {
	t.Helper()
	p, err := process.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the last lines of %s (process %d):\n%s", p.Name(), p.Pid(), p.LogTail(25))
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, check := range ready {
		if err := p.WaitFor(ctx, check); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// startExample starts a user service and a gateway with the Caddyfile.example.
// The edits are pairs of what to replace in it and what by.
func startExample(t testing.TB, edits ...string) (*gateway, *userService) {
	t.Helper()
	u := startUsers(t)
	return startGateway(t, example(t, edits...), "USERS_ADDRESS="+u.addr), u
}

// example is the Caddyfile.example with edits. What an edit replaces must be in
// it exactly once, so that a test cannot lose its point when the example changes.
func example(t testing.TB, edits ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "Caddyfile.example"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(edits); i += 2 {
		if n := strings.Count(text, edits[i]); n != 1 {
			t.Fatalf("%q is %d times in Caddyfile.example, want once", edits[i], n)
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	return text
}

func write(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually polls until check returns nil, and fails the test with its last
// error when patience ends.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(25 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %s: %v", what, patience, err)
}

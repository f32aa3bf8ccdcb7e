package test

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fairway-gateway/fairway/test/process"
)

// What `make run` does once everything is built: both programs up and healthy,
// commands to try, and both down again on Ctrl-C.
func TestRun_StartsAndStopsBoth(t *testing.T) {
	dir := t.TempDir()
	listen, admin, usersAddr := process.FreeAddr(), process.FreeAddr(), process.FreeAddr()
	config, err := filepath.Abs(filepath.Join(root, "Caddyfile.example"))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, process.Spec{
		Name: "run", Path: runner(t), Dir: gatewayDir(t, dir),
		Args: []string{"-gateway", fairway(t), "-users", users(t), "-config", config, "-data", filepath.Join(dir, "data")},
		Env: []string{
			"FAIRWAY_LISTEN=:" + port(listen), "FAIRWAY_ADMIN=" + admin, "FAIRWAY_BIND=127.0.0.1", "USERS_LISTEN=" + usersAddr,
			"USERS_INSECURE_TEST_ARGON2=true", "HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir,
		},
	})
	eventually(t, "the word that it runs", func() error {
		if !strings.Contains(p.Log(), "Fairway is running") {
			return errors.New(p.LogTail(5))
		}
		return nil
	})
	if n := strings.Count(p.Log(), "curl "); n < 5 {
		t.Errorf("it shows %d commands, want five to try:\n%s", n, p.Log())
	}

	// It was healthy before it said so: nothing is polled for here.
	base := "http://" + listen
	get(base+"/health").send(t).want(t, http.StatusOK)
	ada := signUp(t, base, "ada")
	me := get(base + "/api/users/me").as(ada.token)
	me.send(t).want(t, http.StatusOK)
	me.send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit")

	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	wantExit(t, p.Done(), p.ExitCode)
	for _, url := range []string{base, "http://" + usersAddr + "/health"} {
		if a, err := get(url).try(); err == nil {
			t.Errorf("still there after the end: %s", a)
		}
	}
}

package test

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
)

// On SIGTERM the gateway lets what it has accepted finish, and ends with 0.
func TestShutdown_GatewayFinishesRequests(t *testing.T) {
	o, dead := startOrigin(t), startDeadEnd(t, "")
	g := startGateway(t, reloadConfig(o, dead, 0))

	const requests = 10
	answers := make([]answer, requests)
	errs := make([]error, requests)
	var done sync.WaitGroup
	for n := range requests {
		done.Go(func() {
			answers[n], errs[n] = get(fmt.Sprintf("%s/held?n=%d", g.url, n)).with("X-Client", "held").try()
		})
	}
	eventually(t, "requests at the origin", func() error {
		if n := o.held.Load(); n < requests {
			return fmt.Errorf("%d of %d", n, requests)
		}
		return nil
	})
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no new connections", func() error {
		if a, err := get(g.url+"/plain").with("X-Client", "late").try(); err == nil {
			return fmt.Errorf("still accepting; %s", a)
		}
		return nil
	})
	o.release()
	done.Wait()
	for n, a := range answers {
		if errs[n] != nil || a.status != http.StatusOK || a.body != "released" {
			t.Errorf("request %d that was in flight at SIGTERM: %v; %s", n, errs[n], a)
		}
	}
	wantExit(t, g.Done(), g.ExitCode)
}

// The user service does the same.
func TestShutdown_UserServiceEnds(t *testing.T) {
	u := startUsers(t)
	ada := signUp(t, "http://"+u.addr, "ada")
	get("http://"+u.addr+"/api/users/me").as(ada.token).send(t).want(t, http.StatusOK)
	if err := u.Stop(stopGrace); err != nil {
		t.Fatal(err)
	}
	wantExit(t, u.Done(), u.ExitCode)

	// What it has acknowledged is on disk, and its tokens are good after it.
	u.restart()
	get("http://"+u.addr+"/api/users/me").as(ada.token).send(t).want(t, http.StatusOK)
}

func wantExit(t *testing.T, done <-chan struct{}, code func() int) {
	t.Helper()
	eventually(t, "the end of the program", func() error {
		select {
		case <-done:
			return nil
		default:
			return fmt.Errorf("it still runs")
		}
	})
	if got := code(); got != 0 {
		t.Errorf("it ended with exit code %d, want 0", got)
	}
}

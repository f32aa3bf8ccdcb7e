package test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
	"github.com/fairway-gateway/fairway/test/process"
)

// onData runs a users command on the database of a service that is yet to start.
func onData(t testing.TB, dir, database string, args ...string) {
	t.Helper()
	cmd := exec.Command(users(t), append(args, "--data", filepath.Join(dir, "data"), "--database-url", database)...)
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("users %s: %v\n%s", args[0], err, out)
	}
}

// startSeeded starts a service at the production cost of passwords on a database
// with so many seeded users, whose password is password, and an admin.
func startSeeded(t testing.TB, database string, seeded int) *userService {
	t.Helper()
	dir := t.TempDir()
	onData(t, dir, database, "seed", fmt.Sprint(seeded), "--password-stdin")
	onData(t, dir, database, "admin", "create", "--email", "root@example.com", "--name", "Root", "--password-stdin")
	u := &userService{t: t, addr: process.FreeAddr()}
	u.spec = process.Spec{
		Name: "users", Path: users(t), Dir: dir,
		Args: []string{"serve", "--listen", u.addr, "--data", filepath.Join(dir, "data"), "--database-url", database},
	}
	u.restart()
	return u
}

// accessToken returns the access token of somebody.
func accessToken(t testing.TB, u *userService, email string) string {
	t.Helper()
	var login struct {
		Token string `json:"access_token"`
	}
	post("http://"+u.addr+"/api/auth/login", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)).
		send(t).want(t, http.StatusOK).into(t, &login)
	return login.Token
}

// BenchmarkFigure_UsersExport prints what a million users cost to export.
func BenchmarkFigure_UsersExport(b *testing.B) {
	n := 1_000_000
	if testing.Short() {
		n = 5000
	}
	for name, url := range map[string]string{"sqlite": "", "postgres": pgtest.Database(b)} {
		b.Run(name, func(b *testing.B) {
			u := startSeeded(b, url, n)
			token := accessToken(b, u, "root@example.com")
			u.Kill() // hashing took memory that exporting does not
			u.restart()
			for _, format := range []string{"csv", "ndjson"} {
				before := peakOf(b, u)
				rows, first, whole := downloadExport(b, u, token, format)
				want := n + 1
				if format == "csv" {
					want++ // the head line
				}
				if rows != want {
					b.Errorf("%s: %d lines, want %d", format, rows, want)
				}
				b.Logf("%s %s: %d users in %.1f s; peak RSS %.1f MiB (%.1f before; target 64), first byte after %s (target 100ms)",
					name, format, n+1, whole.Seconds(), mib(peakOf(b, u)), mib(before), first.Round(100*time.Microsecond))
			}
		})
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func peakOf(t testing.TB, u *userService) int64 {
	t.Helper()
	n, err := u.PeakRSS()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// downloadExport reads an export and counts its lines.
func downloadExport(t testing.TB, u *userService, token, format string) (lines int, first, whole time.Duration) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+u.addr+"/api/users/export?format="+format, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	begun := time.Now()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	if _, err := body.Peek(1); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the export: %s, %v", resp.Status, err)
	}
	first = time.Since(begun)
	for {
		switch _, err := body.ReadSlice('\n'); err {
		case nil:
			lines++
		case io.EOF:
			return lines, first, time.Since(begun)
		default:
			t.Fatal(err)
		}
	}
}

// BenchmarkFigure_UsersLoginStorm prints what 64 clients that log in without pause
// do to somebody who reads.
func BenchmarkFigure_UsersLoginStorm(b *testing.B) {
	const clients = 64
	lasting := 15 * time.Second
	if testing.Short() {
		lasting = time.Second
	}
	for name, url := range map[string]string{"sqlite": "", "postgres": pgtest.Database(b)} {
		b.Run(name, func(b *testing.B) {
			u := startSeeded(b, url, clients)
			token := accessToken(b, u, "root@example.com")
			emails := seededAddresses(b, u, token)
			idle := readFor(b, u, token, lasting)
			statuses := map[int]int{}
			var mu sync.Mutex
			var storm sync.WaitGroup
			end := time.Now().Add(lasting)
			for n := range clients {
				storm.Go(func() {
					for time.Now().Before(end) {
						a, err := post("http://"+u.addr+"/api/auth/login", fmt.Sprintf(`{"email":%q,"password":%q}`, emails[n], password)).try()
						if err != nil || a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
							b.Errorf("login: %v; %s", err, a)
						}
						mu.Lock()
						statuses[a.status]++
						mu.Unlock()
					}
				})
			}
			busy := readFor(b, u, token, lasting)
			storm.Wait()
			b.Logf("%s: %s; peak RSS %.0f MiB (target 200); logins of %d clients by status %v in %s",
				name, slowed(idle, busy), mib(peakOf(b, u)), clients, statuses, lasting)
			for status := range statuses {
				if status != http.StatusOK && status != http.StatusServiceUnavailable {
					b.Errorf("a login was answered %d", status)
				}
			}
		})
	}
}

// slowed says how much longer reads took in the storm. Of a few of them, the p99 is
// the longest one, which says more about the machine than about the service.
func slowed(idle, busy []time.Duration) string {
	if len(idle) < 200 {
		return fmt.Sprintf("GET median %s idle, %s in the storm; %d reads each are too few for the p99 that is the figure",
			quantile(idle, 0.5).Round(100*time.Microsecond), quantile(busy, 0.5).Round(100*time.Microsecond), len(idle))
	}
	quiet, stormy := quantile(idle, 0.99), quantile(busy, 0.99)
	return fmt.Sprintf("GET p99 %s idle (%d reads), %s in the storm (%d reads): %.1fx (target 10x)",
		quiet.Round(100*time.Microsecond), len(idle), stormy.Round(100*time.Microsecond), len(busy), float64(stormy)/float64(quiet))
}

// seededAddresses are those of the seeded users.
func seededAddresses(t testing.TB, u *userService, token string) (emails []string) {
	t.Helper()
	var list struct {
		Users []struct{ Email, Role string }
	}
	get("http://"+u.addr+"/api/users?limit=100&role=user").as(token).send(t).want(t, http.StatusOK).into(t, &list)
	for _, one := range list.Users {
		emails = append(emails, one.Email)
	}
	return emails
}

// readFor reads a user 50 times a second, whether or not the reads before have
// been answered, and returns how long each took.
func readFor(t testing.TB, u *userService, token string, lasting time.Duration) []time.Duration {
	t.Helper()
	const every = 20 * time.Millisecond
	took := make([]time.Duration, lasting/every)
	var wait sync.WaitGroup
	begun := time.Now()
	for i := range took {
		due := begun.Add(time.Duration(i) * every)
		time.Sleep(time.Until(due))
		wait.Go(func() {
			a, err := get("http://" + u.addr + "/api/users/1").as(token).try()
			if err != nil || a.status != http.StatusOK {
				t.Errorf("reading: %v; %s", err, a)
			}
			took[i] = time.Since(due)
		})
	}
	wait.Wait()
	return took
}

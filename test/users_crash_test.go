package test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

// The service is killed while users are created. Whoever was answered 201 exists,
// and everybody who exists got exactly one mail and one event.
func TestUsersCrash_LosesAndDoublesNothing(t *testing.T) {
	for name, url := range map[string]string{"sqlite": "", "postgres": pgtest.Database(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // both wait, mostly: for a lease on the jobs to end
			crash(t, url, 600, 2).check(t)
		})
	}
}

// BenchmarkFigure_UsersCrash prints how 10,000 creations with three SIGKILLs among
// them end: as many mails as users.
func BenchmarkFigure_UsersCrash(b *testing.B) {
	n, kills := 10_000, 3
	if testing.Short() {
		n, kills = 100, 0 // after a kill, jobs wait for the dead one's lease to end: see the test above
	}
	for name, url := range map[string]string{"sqlite": "", "postgres": pgtest.Database(b)} {
		b.Run(name, func(b *testing.B) {
			o := crash(b, url, n, kills)
			o.check(b)
			b.Logf("%s: %d creations sent, %d SIGKILLs: %d answered 201, %d users committed, %d mails, %d Message-IDs, %d events; target: one mail each",
				name, n, kills, len(o.answered), len(o.stored), o.mails, len(o.ids), o.events)
		})
	}
}

// outcome is what is there after the crashes.
type outcome struct {
	answered map[string]bool // addresses whose creation was answered 201
	stored   map[string]bool // addresses in the database
	mailed   map[string]int  // mails by address
	ids      map[string]bool // Message-IDs
	mails    int
	events   int
}

// crash creates n users and kills the service so many times meanwhile, then lets
// it finish its jobs.
func crash(t testing.TB, database string, n, kills int) *outcome {
	t.Helper()
	u := startUsers(t, "DATABASE_URL="+database, "USERS_JOB_TIMEOUT=1s")
	o := &outcome{answered: map[string]bool{}, stored: map[string]bool{}, mailed: map[string]int{}, ids: map[string]bool{}}
	var mu sync.Mutex
	var next atomic.Int64
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				email := fmt.Sprintf("u%d@example.com", i)
				a, err := post("http://"+u.addr+"/api/auth/register", fmt.Sprintf(`{"email":%q,"password":%q,"name":"Ada"}`, email, password)).try()
				if err != nil {
					time.Sleep(20 * time.Millisecond) // it is being started again
					continue
				}
				if a.status == http.StatusCreated {
					mu.Lock()
					o.answered[email] = true
					mu.Unlock()
				}
			}
		})
	}
	for k := range kills {
		eventually(t, "the moment to kill", func() error {
			if at := next.Load(); at < int64((k+1)*n/(kills+1)) {
				return fmt.Errorf("only %d sent", at)
			}
			return nil
		})
		u.Kill()
		u.restart()
	}
	done.Wait()
	o.read(t, u, database)
	return o
}

// read waits until every user has a mail and an event, and then for more of them.
func (o *outcome) read(t testing.TB, u *userService, database string) {
	t.Helper()
	data := filepath.Join(u.spec.Dir, "data")
	out, err := exec.Command(users(t), "export", "--data", data, "--database-url", database).Output()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		o.stored[row[1]] = true
	}
	count := func() (mails, events int) {
		found, _ := filepath.Glob(filepath.Join(data, "mail", "new", "*"))
		files, _ := filepath.Glob(filepath.Join(data, "analytics", "*.ndjson"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			events += bytes.Count(b, []byte("\n"))
		}
		return len(found), events
	}
	for end := time.Now().Add(3 * patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if o.mails, o.events = count(); o.mails >= len(o.stored) && o.events >= len(o.stored) {
			break
		}
	}
	eventually(t, "the end of all jobs", func() error {
		for _, state := range []string{"available", "running", "retryable", "scheduled", "pending"} {
			out, err := exec.Command(users(t), "jobs", "list", "--state", state, "--limit", "10", "--data", data, "--database-url", database).Output()
			if err != nil || len(out) > 0 {
				return fmt.Errorf("%s: %.300s %w", state, out, err)
			}
		}
		return nil
	})
	o.mails, o.events = count()
	o.readMails(t, filepath.Join(data, "mail", "new"))
}

func (o *outcome) readMails(t testing.TB, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		header, _, _ := strings.Cut(string(b), "\r\n\r\n")
		for line := range strings.SplitSeq(header, "\r\n") {
			if id, ok := strings.CutPrefix(line, "Message-ID: "); ok {
				o.ids[id] = true
			}
			if to, ok := strings.CutPrefix(line, "To: "); ok {
				o.mailed[strings.Trim(to[strings.LastIndexByte(to, '<')+1:], "<>")]++
			}
		}
	}
}

// check fails the test unless everybody has what they must have, once.
func (o *outcome) check(t testing.TB) {
	t.Helper()
	for email := range o.answered {
		if !o.stored[email] {
			t.Errorf("%s was answered 201 and is not there", email)
		}
	}
	for email := range o.stored {
		if o.mailed[email] != 1 {
			t.Errorf("%s got %d mails", email, o.mailed[email])
		}
	}
	if n := len(o.stored); o.mails != n || len(o.ids) != n || o.events != n {
		t.Errorf("%d users, %d mails, %d Message-IDs, %d events", n, o.mails, len(o.ids), o.events)
	}
	if len(o.answered) == 0 {
		t.Error("nobody was created")
	}
}

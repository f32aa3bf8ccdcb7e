package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/analytics"
	"github.com/fairway-gateway/fairway/backend/auth"
	"github.com/fairway-gateway/fairway/backend/mail"
	"github.com/fairway-gateway/fairway/backend/sql"
	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// eachDatabase runs a test on SQLite and on PostgreSQL.
func eachDatabase(t *testing.T, test func(t *testing.T, db *sql.DB)) {
	t.Helper()
	run := func(t *testing.T, c sql.Config) {
		db, err := sql.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, db)
	}
	t.Run("sqlite", func(t *testing.T) { run(t, sql.Config{Dir: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) { run(t, sql.Config{URL: pgtest.Database(t)}) })
}

// outbox remembers what was sent, and fails as often as it is told to.
type outbox struct {
	mu    sync.Mutex
	sent  map[string]int // by message id
	texts []string
	fails int
}

func (o *outbox) Send(_ context.Context, m mail.Message) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fails > 0 {
		o.fails--
		return errors.New("the mail server is down")
	}
	if o.sent == nil {
		o.sent = map[string]int{}
	}
	o.sent[m.ID]++
	o.texts = append(o.texts, m.Text)
	return nil
}

func (o *outbox) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.sent)
}

// tries is how often these tests try a job.
const tries = 3

// atOnce retries without waiting.
type atOnce struct{}

func (atOnce) NextRetry(*rivertype.JobRow) time.Time { return time.Now() }

// run starts a client that sends with s, until the test ends.
func run(t *testing.T, db *sql.DB, s mail.Sender) *Client {
	t.Helper()
	return start(t, db, &Workers{Mailer: mailer(t, db, s)})
}

func mailer(t *testing.T, db *sql.DB, s mail.Sender) *Mailer {
	t.Helper()
	keys, err := auth.OpenKeys(t.Context(), db, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	tokens := &auth.Service{
		DB: db, Hasher: auth.NewHasher(auth.TestCost),
		Issuer: &auth.Issuer{Keys: keys, Name: "https://fairway.example", Audience: "fairway", Now: time.Now},
	}
	return &Mailer{DB: db, Sender: s, Tokens: tokens, PublicURL: "https://www.example"}
}

func start(t *testing.T, db *sql.DB, w *Workers) *Client {
	t.Helper()
	c, err := newClient(db, w, slog.New(slog.DiscardHandler), tries, atOnce{})
	if err != nil {
		t.Fatal(err)
	}
	db.SetOutbox(c.Note)
	if err := c.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Shutdown(ctx, ctx); err != nil {
			t.Errorf("Shutdown() = %v", err)
		}
	})
	return c
}

func create(t *testing.T, db *sql.DB, email string) (*backend.User, error) {
	t.Helper()
	return db.CreateUser(t.Context(), backend.NewUser{Email: email, Name: "Ada", Role: backend.RoleUser, Plan: backend.PlanFree}, "hash")
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("%s: it did not come to that", what)
}

func TestWelcome_OneMailForEachUser(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *sql.DB) {
		dir := filepath.Join(t.TempDir(), "mail")
		box, err := mail.NewMaildir(dir, mail.From{Name: "Fairway", Address: "no-reply@fairway.example", Domain: "fairway.example"})
		if err != nil {
			t.Fatal(err)
		}
		run(t, db, box)
		for i := range 20 {
			if _, err := create(t, db, fmt.Sprintf("u%d@example.com", i)); err != nil {
				t.Fatal(err)
			}
		}
		files := func() []string {
			list, _ := filepath.Glob(filepath.Join(dir, "new", "*"))
			return list
		}
		until(t, "20 mails", func() bool { return len(files()) >= 20 })
		to := map[string]bool{}
		for _, f := range files() {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := strings.Cut(string(b), "\r\nTo: ")
			line, _, _ := strings.Cut(after, "\r\n")
			to[line] = true
		}
		if len(to) != 20 {
			t.Errorf("the mails went to %d addresses, want 20", len(to))
		}
	})
}

// A user who was not created, since the address was taken, gets no mail.
func TestOutbox_CommitsWithTheUserOrNotAtAll(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *sql.DB) {
		box := &outbox{}
		c := run(t, db, box)
		if _, err := create(t, db, "ada@example.com"); err != nil {
			t.Fatal(err)
		}
		if _, err := create(t, db, "ada@example.com"); backend.ErrorCode(err) != backend.Conflict {
			t.Fatal(err)
		}
		db.SetOutbox(func(ctx context.Context, tx sql.Tx, e backend.Event) error {
			return errors.Join(c.Note(ctx, tx, e), errors.New("crash before the commit"))
		})
		if _, err := create(t, db, "bob@example.com"); err == nil {
			t.Fatal("the outbox's error was lost")
		}
		db.SetOutbox(c.Note)
		if _, err := create(t, db, "cleo@example.com"); err != nil {
			t.Fatal(err)
		}
		until(t, "two mails", func() bool { return box.count() >= 2 })
		list, err := c.JobList(t.Context(), river.NewJobListParams())
		if err != nil || len(list.Jobs) != 2 {
			t.Errorf("there are %d jobs, %v, want 2", len(list.Jobs), err)
		}
	})
}

func TestMail_IsRetried(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *sql.DB) {
		box := &outbox{fails: tries - 1}
		run(t, db, box)
		if _, err := create(t, db, "ada@example.com"); err != nil {
			t.Fatal(err)
		}
		until(t, "a mail after failures", func() bool { return box.count() == 1 })
	})
}

// A job that always fails ends as discarded, is seen there, and can run again.
func TestMail_DeadLetterRunsAgain(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *sql.DB) {
		box := &outbox{fails: tries}
		c := run(t, db, box)
		if _, err := create(t, db, "ada@example.com"); err != nil {
			t.Fatal(err)
		}
		var dead []Job
		until(t, "a dead letter", func() bool {
			var err error
			if dead, err = c.Jobs(t.Context(), "discarded", 10); err != nil {
				t.Fatal(err)
			}
			return len(dead) == 1
		})
		if dead[0].Error != "the mail server is down" || dead[0].Attempt != tries || dead[0].Kind != "mail" {
			t.Errorf("the dead letter is %+v", dead[0])
		}
		if err := c.Retry(t.Context(), dead[0].ID); err != nil {
			t.Fatal(err)
		}
		until(t, "the mail after all", func() bool { return box.count() == 1 })
		if err := c.Retry(t.Context(), 999); backend.ErrorCode(err) != backend.NotFound {
			t.Errorf("Retry() of no job = %v, want not found", err)
		}
	})
}

func TestMail_UserIsGone(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *sql.DB) {
		note, err := New(db, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		db.SetOutbox(note.Note)
		u, err := create(t, db, "ada@example.com")
		if err != nil {
			t.Fatal(err)
		}
		if err := db.DeleteUser(t.Context(), u.ID, 0); err != nil {
			t.Fatal(err)
		}
		box := &outbox{}
		c := run(t, db, box)
		until(t, "the jobs' end", func() bool {
			done, err := c.Jobs(t.Context(), "completed", 10)
			return err == nil && len(done) == 3 // the revocation of its tokens and the event are the others
		})
		if box.count() != 0 {
			t.Error("a deleted user got mail")
		}
	})
}

// gateways remembers what it was told.
type gateways struct {
	mu   sync.Mutex
	told []string
}

func (g *gateways) RevokeSubject(_ context.Context, issuer, subject string, notBefore, _ time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told = append(g.told, fmt.Sprintf("%s %s %d", issuer, subject, notBefore.Unix()))
	return nil
}

func TestRevoke_GatewaysAreTold(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *sql.DB) {
		g := &gateways{}
		w := &Workers{Mailer: mailer(t, db, &outbox{}), Revoker: &Revoker{Gateways: g, Issuer: "https://fairway.example"}}
		start(t, db, w)
		u, err := create(t, db, "ada@example.com")
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now().Unix()
		for _, revoke := range []func() error{
			func() error { return db.RevokeEverything(t.Context(), u.ID) },
			func() error { return db.DeleteUser(t.Context(), u.ID, 0) },
		} {
			if err := revoke(); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "two revocations", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.told) == 2
		})
		var id string
		var at int64
		if _, err := fmt.Sscanf(g.told[0], "https://fairway.example %s %d", &id, &at); err != nil || id != fmt.Sprint(u.ID) || at < before || at > time.Now().Unix() {
			t.Errorf("the gateways were told %q", g.told)
		}
	})
}

// The token that a mail carries works, is asked for once a minute at most, and
// goes to nobody who has no account.
func TestReset_MailCarriesAToken(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *sql.DB) {
		box := &outbox{}
		m := mailer(t, db, box)
		c := start(t, db, &Workers{Mailer: m})
		db.SetOutbox(nil) // no welcome
		if _, err := create(t, db, "ada@example.com"); err != nil {
			t.Fatal(err)
		}
		for _, email := range []string{"eve@example.com", "ada@example.com", "ada@example.com"} {
			if err := c.SendReset(t.Context(), email); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "a mail", func() bool { return box.count() > 0 })
		until(t, "the jobs' end", func() bool {
			done, err := c.Jobs(t.Context(), "completed", 10)
			return err == nil && len(done) == 2
		})
		if len(box.texts) != 1 {
			t.Fatalf("there are %d mails, want 1", len(box.texts))
		}
		_, token, ok := strings.Cut(box.texts[0], "https://www.example/reset-password#token=")
		token, _, _ = strings.Cut(token, "\n")
		if _, err := m.Tokens.ResetPassword(t.Context(), token, "a new password"); !ok || err != nil {
			t.Errorf("the token of the mail %q = %v", box.texts[0], err)
		}
	})
}

func TestVerify_MailCarriesAToken(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *sql.DB) {
		box := &outbox{}
		m := mailer(t, db, box)
		start(t, db, &Workers{Mailer: m})
		u, err := create(t, db, "ada@example.com")
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the welcome", func() bool { return box.count() == 1 })
		_, token, _ := strings.Cut(box.texts[0], "https://www.example/verify-email#token=")
		token, _, _ = strings.Cut(token, "\n")
		if id, err := m.Tokens.VerifyEmail(t.Context(), token); id != u.ID || err != nil {
			t.Errorf("the token of the mail %q = %d, %v", box.texts[0], id, err)
		}
	})
}

// The event of a new user is kept beside the welcome mail, once, even if the
// attempt that wrote it was not known to have done so.
func TestAnalytics_EventIsKeptOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *sql.DB) {
		dir := t.TempDir()
		events, err := analytics.NewFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		box := &outbox{}
		c := start(t, db, &Workers{Mailer: mailer(t, db, box), Analyst: &Analyst{Events: events}})
		u, err := create(t, db, "ada@example.com")
		if err != nil {
			t.Fatal(err)
		}
		completed := func(n int) func() bool {
			return func() bool {
				done, err := c.Jobs(t.Context(), "completed", 10)
				return err == nil && len(done) == n && box.count() == 1
			}
		}
		until(t, "the mail and the event", completed(2))
		again := &river.Job[AnalyticsArgs]{
			JobRow: &rivertype.JobRow{Attempt: 2},
			Args:   AnalyticsArgs{Event: backend.UserCreated, UserID: u.ID, At: u.CreatedAt},
		}
		if err := (&Analyst{Events: events}).Work(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, u.CreatedAt.Format(time.DateOnly)+".ndjson"))
		if err != nil || strings.Count(string(b), "\n") != 1 || !strings.HasPrefix(string(b), fmt.Sprintf(`{"id":"user.created-%d",`, u.ID)) {
			t.Errorf("the events are %s, %v, want one", b, err)
		}
	})
}

package auth

import (
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql"
	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// clock is a clock that tests set. It begins at the present, since the database
// of a test knows no other.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// eachDatabase runs a test with a service on SQLite and on PostgreSQL.
func eachDatabase(t *testing.T, test func(t *testing.T, s *Service, c *clock)) {
	t.Helper()
	run := func(t *testing.T, conf sql.Config) {
		c := &clock{}
		conf.Now = c.now
		test(t, newService(t, conf, c), c)
	}
	t.Run("sqlite", func(t *testing.T) { run(t, sql.Config{Dir: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) { run(t, sql.Config{URL: pgtest.Database(t)}) })
}

func newService(t *testing.T, conf sql.Config, c *clock) *Service {
	t.Helper()
	db, err := sql.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return serviceOn(t, db, c)
}

// serviceOn is one more instance on the same database.
func serviceOn(t *testing.T, db *sql.DB, c *clock) *Service {
	t.Helper()
	keys, err := OpenKeys(t.Context(), db, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return &Service{
		DB: db, Hasher: NewHasher(TestCost), Log: slog.New(slog.DiscardHandler), Now: c.now,
		Issuer: &Issuer{Keys: keys, Name: "https://fairway.example", Audience: "fairway", Now: c.now},
	}
}

const password = "correct horse"

func register(t *testing.T, s *Service, email string) *backend.User {
	t.Helper()
	u, err := s.Register(t.Context(), backend.NewUser{Email: email, Password: password, Name: "Ada"})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func login(t *testing.T, s *Service, email string) *Tokens {
	t.Helper()
	tokens, err := s.Login(t.Context(), email, password, Client{UserAgent: "test", IP: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

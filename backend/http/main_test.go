package http

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/auth"
	"github.com/fairway-gateway/fairway/backend/sql"
	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// fixture is an API on a fresh database, with what the log said.
type fixture struct {
	*Server
	t   *testing.T
	db  *sql.DB
	log *logged
}

type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eachDatabase runs a test with an API on SQLite and on PostgreSQL.
func eachDatabase(t *testing.T, test func(f *fixture)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(newFixture(t, sql.Config{Dir: t.TempDir()}, nil)) })
	t.Run("postgres", func(t *testing.T) { test(newFixture(t, sql.Config{URL: pgtest.Database(t)}, nil)) })
}

// onSQLite is for what does not depend on the database.
func onSQLite(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	return newFixture(t, sql.Config{Dir: t.TempDir()}, change)
}

func newFixture(t *testing.T, sc sql.Config, change func(*Config)) *fixture {
	t.Helper()
	db, err := sql.Open(t.Context(), sc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys, err := auth.OpenKeys(t.Context(), db, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, db: db, log: &logged{}}
	log := slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := Config{
		DB: db, Log: log, OpenRegistration: true, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Auth: &auth.Service{
			DB: db, Hasher: auth.NewHasher(auth.TestCost), Log: log, Now: time.Now,
			Issuer: &auth.Issuer{Keys: keys, Name: "https://fairway.example", Audience: "fairway", Now: time.Now},
		},
	}
	if change != nil {
		change(&c)
	}
	f.Server = New(c)
	return f
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body string
}

// do sends a request. Further arguments are headers: name, value, …
func (f *fixture) do(method, path, body string, header ...string) *answer {
	f.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(context.Background(), method, path, reader)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return &answer{w.Result(), w.Body.String()}
}

// want fails the test unless the answer has the status, and returns it.
func (f *fixture) want(status int, a *answer) *answer {
	f.t.Helper()
	if a.StatusCode != status {
		f.t.Fatalf("status = %d, want %d; body %s", a.StatusCode, status, a.body)
	}
	return a
}

func decode[T any](t *testing.T, a *answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return v
}

const password = "correct horse"

// register creates a user and returns the header that says to be it.
func (f *fixture) register(email string) (id int64, authorization []string) {
	f.t.Helper()
	a := f.want(201, f.do("POST", "/api/auth/register", `{"email":"`+email+`","password":"`+password+`","name":"Ada"}`))
	return decode[struct {
		ID    int64  `json:"id"`
		Email string `json:"email"`
	}](f.t, a).ID, f.login(email)
}

func (f *fixture) login(email string) (authorization []string) {
	f.t.Helper()
	return []string{"Authorization", "Bearer " + f.tokens(email).AccessToken}
}

type tokenBody struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int    `json:"expires_in"`
	TokenType    string `json:"token_type"`
}

func (f *fixture) tokens(email string) tokenBody {
	f.t.Helper()
	a := f.want(200, f.do("POST", "/api/auth/login", `{"email":"`+email+`","password":"`+password+`"}`))
	return decode[tokenBody](f.t, a)
}

// admin creates an admin and returns the header that says to be it.
func (f *fixture) admin() []string {
	f.t.Helper()
	s := f.s.auth
	n := backend.NewUser{Email: "root@example.com", Password: password, Name: "Root", Role: backend.RoleAdmin}
	if _, err := s.Register(f.t.Context(), n); err != nil {
		f.t.Fatal(err)
	}
	return f.login("root@example.com")
}

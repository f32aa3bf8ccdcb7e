package sql

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

// names lists everybody as the API does.
func names(t *testing.T, db *DB) string {
	t.Helper()
	users, err := db.Users(t.Context(), backend.UserFilter{}, 0, 100)
	if err != nil {
		t.Fatalf("Users() = %v", err)
	}
	var all []string
	for _, u := range users {
		all = append(all, u.Email)
	}
	return strings.Join(all, " ")
}

// await polls until check holds.
func await(t *testing.T, what string, check func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if check() {
			return
		}
	}
	t.Fatalf("%s: it did not come to that", what)
}

// A standby that streams from the main server: lists come from it, everything else
// does not, and its crash is seen by nobody.
func TestReplica_ListsSurviveItsCrash(t *testing.T) {
	url := pgtest.Database(t)
	db := open(t, Config{URL: url})
	createUser(t, db, "ada@example.com")
	standby := pgtest.StartReplica(t, url)
	var log strings.Builder
	db = open(t, Config{URL: url, ReplicaURL: standby.URL, Log: slog.New(slog.NewTextHandler(&log, nil))})
	await(t, "the list on the standby", func() bool { return names(t, db) == "ada@example.com" })

	bob := createUser(t, db, "bob@example.com") // could not be written on the standby
	if _, err := db.User(t.Context(), bob.ID); err != nil {
		t.Errorf("what was just written cannot be read: %v", err)
	}
	await(t, "the new user on the standby", func() bool { return names(t, db) == "bob@example.com ada@example.com" })
	if n := connections(t, standby.URL); n == 0 {
		t.Error("nobody has a connection to the standby")
	}

	standby.Stop()
	createUser(t, db, "cleo@example.com")
	if got := names(t, db); got != "cleo@example.com bob@example.com ada@example.com" {
		t.Errorf("without the standby the list is %s", got)
	}
	if configured, up := db.Replica(); !configured || up || strings.Count(log.String(), "the replica does not answer") != 1 {
		t.Errorf("Replica() = %t, %t; the log: %s", configured, up, &log)
	}
	standby.Start()
	db.behind.until.Store(1) // the five seconds are over
	await(t, "the standby's return", func() bool { names(t, db); _, up := db.Replica(); return up })
}

// connections counts those of the service to a server.
func connections(t *testing.T, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fairway-users'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Where reads go is shown by two databases that do not hold the same.
func TestReplica_WhichReadsGoThere(t *testing.T) {
	main, other := pgtest.Database(t), pgtest.Database(t)
	createUser(t, open(t, Config{URL: other}), "other@example.com")
	db := open(t, Config{URL: main, ReplicaURL: other})
	ada := createUser(t, db, "ada@example.com")
	if got := names(t, db); got != "other@example.com" {
		t.Errorf("the list is %s, want the replica's", got)
	}
	page, err := db.ExportPage(t.Context(), time.Time{}, nil, 10)
	if err != nil || len(page) != 1 || page[0].Email != "other@example.com" {
		t.Errorf("the export is %v, %v, want the replica's", page, err)
	}
	if u, err := db.User(t.Context(), ada.ID); err != nil || u.Email != "ada@example.com" {
		t.Errorf("one user is read as %v, %v, want the main server's", u, err)
	}
	if c, err := db.CredentialsByEmail(t.Context(), "ada@example.com"); err != nil || c.ID != ada.ID {
		t.Errorf("credentials are read as %v, %v, want the main server's", c, err)
	}
}

// A replica that hangs costs one list half of its time, and those after it nothing.
func TestReplica_Hangs(t *testing.T) {
	main, other := pgtest.Database(t), pgtest.Database(t)
	open(t, Config{URL: other})
	conn, err := pgx.Connect(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	db := open(t, Config{URL: main, ReplicaURL: other, QueryTimeout: 4 * time.Second})
	createUser(t, db, "ada@example.com")
	for n, most := range []time.Duration{3500 * time.Millisecond, 1900 * time.Millisecond} {
		begun := time.Now()
		if got := names(t, db); got != "ada@example.com" {
			t.Errorf("the list is %s", got)
		}
		if took := time.Since(begun); took > most {
			t.Errorf("list %d took %s, want at most %s", n+1, took, most)
		}
	}
}

// A service starts and works while its replica is away.
func TestReplica_AwayAtTheStart(t *testing.T) {
	db := open(t, Config{URL: pgtest.Database(t), ReplicaURL: "postgres://fairway@127.0.0.1:1/x?sslmode=disable"})
	createUser(t, db, "ada@example.com")
	if got := names(t, db); got != "ada@example.com" {
		t.Errorf("the list is %s", got)
	}
}

// A main server that is away is a reason to come back later, not an error of ours.
func TestPostgres_AwayIsUnavailable(t *testing.T) {
	url := pgtest.Database(t)
	db := open(t, Config{URL: url})
	createUser(t, db, "ada@example.com")
	admin, err := pgx.Connect(t.Context(), strings.Replace(url, url[strings.LastIndexByte(url, '/'):], "/postgres?sslmode=disable", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(t.Context()))
	name := db.Postgres().Config().ConnConfig.Database
	if _, err := admin.Exec(t.Context(), fmt.Sprintf(`ALTER DATABASE %s ALLOW_CONNECTIONS false`, name)); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name); err != nil {
		t.Fatal(err)
	}
	for range 3 { // on broken connections, and on none
		if _, err := db.User(t.Context(), 1); backend.ErrorCode(err) != backend.Unavailable {
			t.Errorf("User() = %v, want unavailable", err)
		}
	}
}

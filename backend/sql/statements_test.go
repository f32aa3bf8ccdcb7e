package sql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairway-gateway/fairway/backend"
)

// On SQLite every statement of a request is parsed before it is used again, those
// in transactions, too, and what is parsed goes on working.
func TestStatements_AreParsedOnce(t *testing.T) {
	db := open(t, Config{Dir: t.TempDir()})
	e := db.engine.(*sqliteEngine)
	work := func(n int) {
		t.Helper()
		u := createUser(t, db, fmt.Sprintf("u%d@example.com", n))
		name := fmt.Sprintf("Bob %d", n)
		p := backend.Patch{Name: backend.Change[string]{Set: true, Value: &name}}
		if _, err := db.UpdateUser(t.Context(), u.ID, 0, p); err != nil {
			t.Fatal(err)
		}
		got, err := db.User(t.Context(), u.ID)
		if err != nil || got.Name != name || got.Email != u.Email {
			t.Fatalf("User(%d) = %+v, %v, want %q", u.ID, got, err, name)
		}
		if err := db.DeleteUser(t.Context(), u.ID, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := db.User(t.Context(), u.ID); backend.ErrorCode(err) != backend.NotFound {
			t.Fatalf("User() of a deleted one = %v", err)
		}
	}
	work(0)
	writing, reading := len(e.writing.parsed), len(e.reading.parsed)
	if writing < 4 || reading < 2 {
		t.Errorf("%d statements that write and %d that read are parsed, want all", writing, reading)
	}
	for n := range 20 {
		work(n + 1)
	}
	if len(e.writing.parsed) != writing || len(e.reading.parsed) != reading || len(e.writing.wanted) != 0 {
		t.Errorf("the same work again parsed %d and %d statements more", len(e.writing.parsed)-writing, len(e.reading.parsed)-reading)
	}
}

func TestStatements_AreBounded(t *testing.T) {
	e := openEngine(t)
	for n := range 2 * maxStatements {
		got, err := one(t.Context(), e.reader(), column[int], fmt.Sprintf(`SELECT $1 + %d`, n), 1)
		if err != nil || got != n+1 {
			t.Fatalf("SELECT = %d, %v, want %d", got, err, n+1)
		}
	}
	if n := len(e.reading.parsed); n != maxStatements {
		t.Errorf("%d statements are kept, want %d", n, maxStatements)
	}
	for n := range maxStatements {
		if err := e.inTx(t.Context(), execTx(t.Context(), fmt.Sprintf(`INSERT INTO t VALUES (%d)`, n))); err != nil {
			t.Fatal(err)
		}
	}
	long := `INSERT INTO t VALUES ($1)` + strings.Repeat(" ", maxStatement)
	if err := e.inTx(t.Context(), execTx(t.Context(), long, 1)); err != nil {
		t.Fatal(err)
	}
	if n := len(e.writing.parsed); n > maxStatements || e.writing.parsed[long] != nil {
		t.Errorf("%d statements are kept, want at most %d and no long one", n, maxStatements)
	}
}

// What fails in a transaction fails when it is parsed, too.
func TestStatements_FailAlike(t *testing.T) {
	e := openEngine(t)
	for range 3 {
		if err := e.inTx(t.Context(), execTx(t.Context(), `INSERT INTO nowhere VALUES (1)`)); err == nil || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("INSERT = %v", err)
		}
		if _, err := one(t.Context(), e.reader(), column[int], `SELECT n FROM nowhere`); err == nil || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("SELECT = %v", err)
		}
	}
}

func BenchmarkDB_User(b *testing.B) {
	db, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	u, err := db.CreateUser(b.Context(), backend.NewUser{Email: "ada@example.com", Name: "Ada", Role: backend.RoleUser, Plan: backend.PlanFree}, "hash")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := db.User(b.Context(), u.ID); err != nil {
			b.Fatal(err)
		}
	}
}

package sql

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

func set[T any](v T) backend.Change[T] { return backend.Change[T]{Set: true, Value: &v} }

func TestCreateUser_ReadsBackWhatWasStored(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		age := 36
		n := backend.NewUser{Email: "ada@example.com", Name: "Ada", Age: &age, Role: backend.RoleAdmin, Plan: backend.PlanPro}
		made, err := db.CreateUser(t.Context(), n, "hash")
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.User(t.Context(), made.ID)
		if err != nil {
			t.Fatal(err)
		}
		want := &backend.User{
			ID: made.ID, Email: n.Email, Name: n.Name, Age: &age, Role: n.Role, Plan: n.Plan,
			CreatedAt: c.now(), UpdatedAt: c.now(), Version: 1,
		}
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(made, want) {
			t.Errorf("User() = %+v, CreateUser() = %+v, want %+v", got, made, want)
		}
	})
}

func TestCreateUser_AddressIsTaken(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, _ *clock) {
		createUser(t, db, "ada@example.com")
		_, err := db.CreateUser(t.Context(), backend.NewUser{Email: "ada@example.com", Name: "Eve"}, "hash")
		if got := backend.ErrorCode(err); got != backend.Conflict {
			t.Errorf("creating it again = %v, want a conflict", err)
		}
	})
}

func TestUsers_TwoQueriesForAPageWithProfiles(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, _ *clock) {
		for i := range 100 {
			u := createUser(t, db, fmt.Sprintf("u%d@example.com", i))
			p := backend.Patch{Bio: set(fmt.Sprintf("bio %d", u.ID))}
			if _, err := db.UpdateUser(t.Context(), u.ID, 0, p); err != nil {
				t.Fatal(err)
			}
		}
		count := &counting{engine: db.engine}
		db.engine = count
		users, err := db.Users(t.Context(), backend.UserFilter{}, 0, 100)
		if err != nil || len(users) != 100 {
			t.Fatalf("Users() = %d users, %v, want 100", len(users), err)
		}
		if n := count.n.Load(); n != 2 {
			t.Errorf("a page took %d queries, want 2", n)
		}
		for i, u := range users {
			if want := fmt.Sprintf("bio %d", u.ID); u.Profile.Bio == nil || *u.Profile.Bio != want {
				t.Fatalf("user %d has the profile of another: %v", u.ID, u.Profile.Bio)
			}
			if i > 0 && u.ID >= users[i-1].ID {
				t.Fatalf("user %d comes after %d, want the newest first", u.ID, users[i-1].ID)
			}
		}
	})
}

func TestUsers_PagesMissAndRepeatNobody(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, _ *clock) {
		for i := range 7 {
			createUser(t, db, fmt.Sprintf("u%d@example.com", i))
		}
		seen := map[int64]bool{}
		for after := int64(0); ; {
			page, err := db.Users(t.Context(), backend.UserFilter{}, after, 3)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			createUser(t, db, fmt.Sprintf("new%d@example.com", after)) // newer users do not shift later pages
			for _, u := range page {
				if seen[u.ID] {
					t.Errorf("user %d came twice", u.ID)
				}
				seen[u.ID] = true
			}
			after = page[len(page)-1].ID
		}
		if len(seen) != 7 {
			t.Errorf("the pages had %d users, want 7", len(seen))
		}
	})
}

func TestUsers_Filters(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, _ *clock) {
		for _, n := range []backend.NewUser{
			{Email: "a@example.com", Name: "Ada", Role: backend.RoleAdmin, Plan: backend.PlanPro},
			{Email: "b@example.com", Name: "adam", Role: backend.RoleUser, Plan: backend.PlanPro},
			{Email: "c@example.com", Name: "100%_sure", Role: backend.RoleUser, Plan: backend.PlanFree},
			{Email: "d@example.com", Name: "100x", Role: backend.RoleUser, Plan: backend.PlanFree},
		} {
			if _, err := db.CreateUser(t.Context(), n, "hash"); err != nil {
				t.Fatal(err)
			}
		}
		for name, tc := range map[string]struct {
			filter backend.UserFilter
			want   string
		}{
			"role":                      {backend.UserFilter{Role: backend.RoleAdmin}, "a"},
			"plan":                      {backend.UserFilter{Plan: backend.PlanPro}, "ba"},
			"email":                     {backend.UserFilter{Email: "c@example.com"}, "c"},
			"name in any case":          {backend.UserFilter{Name: "ADA"}, "ba"},
			"wildcards mean themselves": {backend.UserFilter{Name: "100%"}, "c"},
			"underscore":                {backend.UserFilter{Name: "100%_"}, "c"},
			"quote":                     {backend.UserFilter{Name: "' OR 1=1 --"}, ""},
			"both":                      {backend.UserFilter{Name: "ada", Role: backend.RoleUser}, "b"},
		} {
			users, err := db.Users(t.Context(), tc.filter, 0, 10)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := ""
			for _, u := range users {
				got += u.Email[:1]
			}
			if got != tc.want {
				t.Errorf("%s: Users(%+v) = %q, want %q", name, tc.filter, got, tc.want)
			}
		}
	})
}

func TestUpdateUser_NullClearsAndAbsentKeeps(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		u := createUser(t, db, "ada@example.com")
		c.advance(time.Second)
		if _, err := db.UpdateUser(t.Context(), u.ID, 0, backend.Patch{Age: set(36), Bio: set("bio"), Location: set("London")}); err != nil {
			t.Fatal(err)
		}
		answered, err := db.UpdateUser(t.Context(), u.ID, 0, backend.Patch{Age: backend.Change[int]{Set: true}, Bio: backend.Change[string]{Set: true}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.User(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Age != nil || got.Profile.Bio != nil || got.Profile.Location == nil || *got.Profile.Location != "London" || got.Name != "Ada" {
			t.Errorf("User() = %+v, want age and bio cleared, the rest kept", got)
		}
		if got.Version != 3 || !got.UpdatedAt.Equal(c.now()) || got.CreatedAt.Equal(got.UpdatedAt) {
			t.Errorf("User() has version %d of %v, want 3 of %v", got.Version, got.UpdatedAt, c.now())
		}
		if !reflect.DeepEqual(answered, got) {
			t.Errorf("UpdateUser() = %+v, want what is stored: %+v", answered, got)
		}
	})
}

func TestUpdateUser_Refusals(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, _ *clock) {
		u := createUser(t, db, "ada@example.com")
		createUser(t, db, "bob@example.com")
		for name, tc := range map[string]struct {
			id, version int64
			patch       backend.Patch
			want        backend.Code
		}{
			"another version":    {u.ID, 2, backend.Patch{Name: set("Eve")}, backend.PreconditionFailed},
			"address of another": {u.ID, 0, backend.Patch{Email: set("bob@example.com")}, backend.Conflict},
			"nobody":             {999, 0, backend.Patch{Name: set("Eve")}, backend.NotFound},
		} {
			if _, err := db.UpdateUser(t.Context(), tc.id, tc.version, tc.patch); backend.ErrorCode(err) != tc.want {
				t.Errorf("%s: UpdateUser() = %v, want %s", name, err, tc.want)
			}
		}
	})
}

// However many change one user at once, everybody's change is made.
func TestUpdateUser_NobodyIsTurnedAway(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, _ *clock) {
		u := createUser(t, db, "ada@example.com")
		const clients, each = 16, 10
		var wait sync.WaitGroup
		for n := range clients {
			wait.Go(func() {
				for range each {
					if _, err := db.UpdateUser(t.Context(), u.ID, 0, backend.Patch{Age: set(20 + n)}); err != nil {
						t.Errorf("UpdateUser() = %v", err)
					}
				}
			})
		}
		wait.Wait()
		if got, err := db.User(t.Context(), u.ID); err != nil || got.Version != 1+clients*each {
			t.Errorf("User() = %+v, %v, want version %d", got, err, 1+clients*each)
		}
	})
}

// Of a deletion and a change that name the same version, one is refused.
func TestDeleteUser_NotAVersionThatNobodySaw(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, _ *clock) {
		for n := range 20 {
			u := createUser(t, db, fmt.Sprintf("u%d@example.com", n))
			var deleted, changed error
			var wait sync.WaitGroup
			wait.Go(func() { deleted = db.DeleteUser(t.Context(), u.ID, u.Version) })
			wait.Go(func() { _, changed = db.UpdateUser(t.Context(), u.ID, u.Version, backend.Patch{Age: set(30)}) })
			wait.Wait()
			if (deleted == nil) == (changed == nil) {
				t.Fatalf("deletion = %v, change = %v, want one of them refused", deleted, changed)
			}
		}
	})
}

// Many change one user at once. Every change is kept, and of those that insist
// on one version exactly one wins.
func TestUpdateUser_ManyAtOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, _ *clock) {
		u := createUser(t, db, "ada@example.com")
		patches := []backend.Patch{
			{Name: set("Bea")}, {Age: set(40)}, {Bio: set("bio")}, {Location: set("Rome")},
		}
		var wait sync.WaitGroup
		for _, p := range patches {
			wait.Go(func() {
				if _, err := db.UpdateUser(t.Context(), u.ID, 0, p); err != nil {
					t.Errorf("UpdateUser() = %v", err)
				}
			})
		}
		wait.Wait()
		got, err := db.User(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != "Bea" || got.Age == nil || got.Profile.Bio == nil || got.Profile.Location == nil || got.Version != 5 {
			t.Errorf("a change was lost: %+v", got)
		}

		var mu sync.Mutex
		won := 0
		for range 5 {
			wait.Go(func() {
				_, err := db.UpdateUser(t.Context(), u.ID, got.Version, backend.Patch{Name: set("Cleo")})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case backend.ErrorCode(err) != backend.PreconditionFailed:
					t.Errorf("UpdateUser() = %v", err)
				}
			})
		}
		wait.Wait()
		if won != 1 {
			t.Errorf("%d changes of one version won, want 1", won)
		}
	})
}

func TestDeleteUser_TakesEverythingAlong(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		u := createUser(t, db, "ada@example.com")
		if _, err := db.UpdateUser(t.Context(), u.ID, 0, backend.Patch{Bio: set("bio")}); err != nil {
			t.Fatal(err)
		}
		hash := startSession(t, db, c, u.ID)
		if err := db.DeleteUser(t.Context(), u.ID, 1); backend.ErrorCode(err) != backend.PreconditionFailed {
			t.Errorf("DeleteUser() with an old version = %v, want a failed precondition", err)
		}
		if err := db.DeleteUser(t.Context(), u.ID, 2); err != nil {
			t.Fatal(err)
		}
		if _, err := db.User(t.Context(), u.ID); backend.ErrorCode(err) != backend.NotFound {
			t.Errorf("User() = %v, want not found", err)
		}
		if err := refresh(db, t, hash, []byte("next")); backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("the refresh token of a deleted user = %v, want it refused", err)
		}
		if err := db.DeleteUser(t.Context(), u.ID, 0); backend.ErrorCode(err) != backend.NotFound {
			t.Errorf("DeleteUser() again = %v, want not found", err)
		}
		if next := createUser(t, db, "ada@example.com"); next.ID == u.ID {
			t.Errorf("the id %d was used again", u.ID)
		}
	})
}

func TestMigrate_TwiceAndAtOnce(t *testing.T) {
	eachConfig(t, func(t *testing.T, c Config) {
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				db, err := Open(t.Context(), c)
				if err != nil {
					t.Errorf("Open() = %v", err)
					return
				}
				defer db.Close()
				if err := db.Migrate(t.Context()); err != nil {
					t.Errorf("Migrate() = %v", err)
				}
			})
		}
		wait.Wait()
		createUser(t, open(t, c), "ada@example.com")
	})
}

// A pool without a free connection answers, in time, that one should come back.
func TestQueryTimeout_ExhaustedPool(t *testing.T) {
	eachConfig(t, func(t *testing.T, c Config) {
		c.MaxConns, c.QueryTimeout = 1, 200*time.Millisecond
		db := open(t, c)
		held, release := make(chan struct{}), make(chan struct{})
		go func() {
			_ = db.engine.inTx(t.Context(), func(Tx) error {
				close(held)
				<-release
				return nil
			})
		}()
		<-held
		defer close(release)
		began := time.Now()
		_, err := db.CreateUser(t.Context(), backend.NewUser{Email: "a@b.co", Name: "Ada"}, "hash")
		var e *backend.Error
		if !errors.As(err, &e) || e.Code != backend.Unavailable || e.RetryAfter <= 0 {
			t.Errorf("CreateUser() = %v, want unavailable with a time to retry", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v to say so", took)
		}
	})
}

// Two that serve one SQLite file would each do the other's jobs: the second is
// refused until the first is gone. What only looks, or migrates, is not.
func TestOpen_ExclusiveSQLite(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(t.Context(), Config{Dir: dir, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: dir, Exclusive: true}); err == nil || !strings.Contains(err.Error(), "another process serves") || !strings.Contains(err.Error(), dir) {
		t.Errorf("the second Open() = %v, want a refusal with the folder", err)
	}
	open(t, Config{Dir: dir})
	first.Close()
	third, err := Open(t.Context(), Config{Dir: dir, Exclusive: true})
	if err != nil {
		t.Fatalf("after the first is gone: %v", err)
	}
	third.Close()
}

func TestOpen_BadConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"another database":         {URL: "mysql://localhost/x"},
		"broken URL":               {URL: "postgres://localhost:port/x"},
		"nobody listens":           {URL: "postgres://u:secret@127.0.0.1:1/x"},
		"replica without a server": {ReplicaURL: "postgres://localhost/x", Dir: t.TempDir()},
		"pool without connections": {MaxConns: -1, Dir: t.TempDir()},
		"folder is a file":         {Dir: "/dev/null"},
	} {
		db, err := Open(t.Context(), c)
		if err == nil {
			db.Close()
			t.Errorf("%s: Open(%+v) succeeded", name, c)
		}
	}
}

package test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// hostileStack is the example with an admin, a user, and an enemy with an account.
type hostileStack struct {
	*gateway
	users           *userService
	root            string // token of an admin
	ada, eve        account
	adaURL, evesURL string
}

func startHostileStack(t *testing.T) *hostileStack {
	t.Helper()
	g, u := startExample(t, generous...)
	awaitKeys(t, g)
	onData(t, u.spec.Dir, "", "admin", "create", "--email", "root@example.com", "--name", "Root", "--password-stdin")
	s := &hostileStack{gateway: g, users: u, root: accessToken(t, u, "root@example.com")}
	s.ada, s.eve = signUp(t, g.url, "ada"), signUp(t, g.url, "eve")
	s.adaURL, s.evesURL = fmt.Sprintf("%s/api/users/%d", g.url, s.ada.id), fmt.Sprintf("%s/api/users/%d", g.url, s.eve.id)
	return s
}

func patch(url, token, body string) request {
	return request{method: http.MethodPatch, url: url, token: token, body: body}
}

func remove(url, token string) request {
	return request{method: http.MethodDelete, url: url, token: token}
}

// Whoever has an account has that account and no other, also not in the cache.
func TestUsersHostile_OthersAccounts(t *testing.T) {
	s := startHostileStack(t)
	for range 2 { // the second answer is in Ada's cache
		get(s.adaURL).as(s.ada.token).send(t).want(t, http.StatusOK)
	}
	for _, r := range []request{
		get(s.adaURL),
		get(s.adaURL + "/sessions"),
		get(s.adaURL).with("X-User-ID", fmt.Sprint(s.ada.id)),
		get(s.adaURL).with("If-None-Match", fmt.Sprintf(`"%d-1"`, s.ada.id)),
		{method: http.MethodHead, url: s.adaURL},
		patch(s.adaURL, "", `{"name":"Eve"}`),
		remove(s.adaURL, ""),
		remove(s.adaURL+"/sessions", ""),
		{method: http.MethodPost, url: s.adaURL + "/verify-email"},
		get(s.url + "/api/users"),
		get(s.url + "/api/users/export"),
	} {
		if a := r.as(s.eve.token).send(t); a.status != http.StatusForbidden && a.status != http.StatusNotFound || strings.Contains(a.body, s.ada.email) {
			t.Errorf("Eve got %s", a)
		}
		r.as("").send(t).want(t, http.StatusUnauthorized)
	}
	// a path that an upstream might take for hers is refused before it gets there
	get(s.adaURL+"/").as(s.eve.token).send(t).want(t, http.StatusBadRequest)
	get(s.adaURL).as(s.ada.token).send(t).want(t, http.StatusOK).wantHeader(t, "ETag", fmt.Sprintf(`"%d-1"`, s.ada.id))
}

// Nobody makes oneself more than one is: what only admins or nobody may set is
// refused, in every spelling, and nothing of such a change happens.
func TestUsersHostile_Escalation(t *testing.T) {
	s := startHostileStack(t)
	for _, body := range []string{
		`{"role":"admin"}`, `{"plan":"pro"}`, `{"name":"Eva","role":"admin"}`, `{"Role":"admin"}`, `{"ROLE":"admin","name":"Eva"}`,
		`{"role":"user","role":"admin"}`, `{"role":"user","\u0072ole":"admin"}`,
		`{"email_verified":true}`, `{"email_verified_at":1}`, `{"id":1}`, `{"version":99}`, `{"password_hash":"x"}`, `{"tokens_revoked_at":0}`,
		`{"profile":{"role":"admin"}}`, `{"__proto__":{"role":"admin"}}`,
	} {
		for _, base := range []string{s.evesURL, strings.Replace(s.evesURL, s.url, "http://"+s.users.addr, 1)} {
			if a := patch(base, s.eve.token, body).send(t); a.status != http.StatusBadRequest && a.status != http.StatusForbidden {
				t.Errorf("%s: %s", body, a)
			}
		}
	}
	for n, member := range []string{`"role":"admin"`, `"plan":"pro"`, `"Role":"admin"`, `"email_verified":true`} {
		body := fmt.Sprintf(`{"email":"e%d@example.com","password":%q,"name":"Eve",%s}`, n, password, member)
		for _, r := range []request{post(s.url+"/api/auth/register", body), post("http://"+s.users.addr+"/api/auth/register", body), post(s.url+"/api/users", body).as(s.eve.token)} {
			if a := r.send(t); a.status < 400 || a.status >= 500 {
				t.Errorf("%s: %s", member, a)
			}
		}
	}
	var eve struct {
		Name, Role, Plan string
		Version          int
		EmailVerified    bool `json:"email_verified"`
	}
	get(s.evesURL).as(s.eve.token).send(t).want(t, http.StatusOK).into(t, &eve)
	if eve.Role != "user" || eve.Plan != "free" || eve.Version != 1 || eve.EmailVerified || eve.Name != "eve" {
		t.Errorf("Eve is %+v now", eve)
	}
}

// A precondition holds or refuses, whatever is written into it.
func TestUsersHostile_Preconditions(t *testing.T) {
	s := startHostileStack(t)
	own := fmt.Sprintf("%d-1", s.eve.id)
	for _, tag := range []string{
		`W/"` + own + `"`, own, `"` + own, `""`, `"1-1"`, `"` + own + `0"`, `"+` + own + `"`, `"0-0"`, `,`, `"a", "b"`,
		fmt.Sprintf(`"%d-0"`, s.eve.id), fmt.Sprintf(`"%d-01"`, s.eve.id), fmt.Sprintf(`"%d-9223372036854775808"`, s.eve.id), fmt.Sprintf(`"%d--1"`, s.eve.id), fmt.Sprintf(`"%d-1"`, s.ada.id),
	} {
		patch(s.evesURL, s.eve.token, `{"age":30}`).with("If-Match", tag).send(t).want(t, http.StatusPreconditionFailed)
		remove(s.evesURL, s.eve.token).with("If-Match", tag).send(t).want(t, http.StatusPreconditionFailed)
	}
	patch(s.evesURL, s.eve.token, `{"age":30}`).with("If-Match", `"x", "`+own+`"`).send(t).want(t, http.StatusOK)
	patch(s.evesURL, s.eve.token, `{"age":31}`).with("If-Match", `"`+own+`"`).send(t).want(t, http.StatusPreconditionFailed)
	patch(s.evesURL, s.eve.token, `{"age":32}`).with("If-Match", "*").send(t).want(t, http.StatusOK)
	patch(s.adaURL, s.eve.token, `{"age":32}`).with("If-Match", "*").send(t).want(t, http.StatusForbidden)
}

// An idempotency key is its sender's, and one request's.
func TestUsersHostile_IdempotencyKeys(t *testing.T) {
	s := startHostileStack(t)
	create := func(token, email, name string) request {
		return post(s.url+"/api/users", fmt.Sprintf(`{"email":%q,"password":%q,"name":%q}`, email, password, name)).as(token).with("Idempotency-Key", "k-1")
	}
	first := create(s.root, "bob@example.com", "Bob").send(t).want(t, http.StatusCreated)
	again := create(s.root, "bob@example.com", "Bob").send(t).want(t, http.StatusCreated).wantHeader(t, "Idempotency-Replayed", "true")
	if again.body != first.body {
		t.Errorf("the replay is %s, want %s", again.body, first.body)
	}
	create(s.root, "bob@example.com", "Bobby").send(t).want(t, http.StatusUnprocessableEntity)
	create(s.root, "cleo@example.com", "Bob").send(t).want(t, http.StatusUnprocessableEntity)
	// Another's key is another key: Eve learns of no user but that the address is taken.
	create(s.eve.token, "bob@example.com", "Bob").send(t).want(t, http.StatusConflict)
	create(s.eve.token, "dan@example.com", "Dan").send(t).want(t, http.StatusCreated)
}

// A refresh token that comes from many at once, within its grace, is good for each
// of them; afterwards all are of one session, which ends as one.
func TestUsersHostile_RefreshAtOnce(t *testing.T) {
	s := startHostileStack(t)
	var login struct {
		Refresh string `json:"refresh_token"`
	}
	post(s.url+"/api/auth/login", fmt.Sprintf(`{"email":%q,"password":%q}`, s.ada.email, password)).send(t).want(t, http.StatusOK).into(t, &login)
	refresh := func(token string) request {
		return post(s.url+"/api/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, token))
	}
	var mu sync.Mutex
	var successors []string
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			a, err := refresh(login.Refresh).try()
			if err != nil || a.status != http.StatusOK {
				t.Errorf("refresh: %v; %s", err, a)
				return
			}
			_, after, _ := strings.Cut(a.body, `"refresh_token":"`)
			token, _, _ := strings.Cut(after, `"`)
			mu.Lock()
			defer mu.Unlock()
			successors = append(successors, token)
		})
	}
	wait.Wait()
	slices.Sort(successors)
	if len(slices.Compact(successors)) != 8 {
		t.Fatalf("there are %d successors, want 8 that differ", len(successors))
	}
	post(s.url+"/api/auth/logout", fmt.Sprintf(`{"refresh_token":%q}`, successors[0])).send(t).want(t, http.StatusNoContent)
	for _, token := range append(successors, login.Refresh) {
		refresh(token).send(t).want(t, http.StatusUnauthorized)
	}
}

// A name is text wherever it goes: in a mail's header, in its text, in a spreadsheet.
func TestUsersHostile_Names(t *testing.T) {
	s := startHostileStack(t)
	register := func(n int, name string) request {
		return post("http://"+s.users.addr+"/api/auth/register", fmt.Sprintf(`{"email":"n%d@example.com","password":%q,"name":%s}`, n, password, name))
	}
	for n, name := range []string{`"Eve\r\nBcc: all@example.com"`, `"Eve\nX: y"`, `"Eve\u0000"`, `"Eve\u2028Bcc: a"`, `"Eve\u202egnp"`} {
		register(n, name).send(t).want(t, http.StatusBadRequest)
	}
	tricky := []string{`=cmd|'/c calc'!A1`, `+1+a`, `-a+1`, `@SUM(a)`, `|calc a`, `%0aBcc: a@b.example`, `a\" <all@example.com>, \"`, `{{.User.Email}} a`, `=?utf-8?q?a=0d=0aBcc:_all?=`}
	for n, name := range tricky {
		register(100+n, `"`+name+`"`).send(t).want(t, http.StatusCreated)
	}
	csv := get(s.url+"/api/users/export").as(s.root).send(t).want(t, http.StatusOK).body
	for line := range strings.SplitSeq(strings.TrimSpace(csv), "\n") {
		for cell := range strings.SplitSeq(line, ",") {
			if cell = strings.TrimPrefix(cell, `"`); cell != "" && strings.ContainsAny(cell[:1], "=+-@|%\t") {
				t.Errorf("a spreadsheet takes %q for a formula", line)
			}
		}
	}
	box := os.DirFS(filepath.Join(s.users.spec.Dir, "data", "mail", "new"))
	want := len(tricky) + 2 // Ada, Eve; an admin is made by a command, and told by who ran it
	eventually(t, "the mails", func() error {
		files, err := fs.ReadDir(box, ".")
		if err == nil && len(files) < want {
			return fmt.Errorf("%d of %d", len(files), want)
		}
		return err
	})
	files, err := fs.ReadDir(box, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := fs.ReadFile(box, f.Name())
		if err != nil {
			t.Fatal(err)
		}
		header, text, _ := strings.Cut(string(b), "\r\n\r\n")
		if n := strings.Count("\r\n"+header, "\r\nTo: "); n != 1 || strings.Contains("\r\n"+header, "\r\nBcc:") || strings.Contains(text, "{{") && !strings.Contains(text, "{{.User.Email}} a") {
			t.Errorf("a mail says:\n%s", b)
		}
		if to := header[strings.Index(header, "\r\nTo: "):]; strings.Count(strings.SplitN(to[2:], "\r\n", 2)[0], "<") != 1 {
			t.Errorf("a mail goes to more than one: %s", to)
		}
	}
}

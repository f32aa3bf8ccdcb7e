package http

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend/sql"
	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

// What a hostile client puts into lists, paths and filters reaches a database only
// as a value: on both of them it is answered with a 4xx in the one shape, or finds
// nobody.
func TestBadInput_Requests(t *testing.T) {
	cursor := base64.RawURLEncoding.EncodeToString
	injection := `' OR 1=1; DROP TABLE users; --`
	eachDatabase(t, func(f *fixture) {
		f.register("ada@example.com")
		admin := f.admin()
		for _, tc := range []struct {
			name, method, path, body string
			status                   int
			field                    string // that the details name
		}{
			{"limit is negative", "GET", "/api/users?limit=-1", "", 400, "limit"},
			{"limit is zero", "GET", "/api/users?limit=0", "", 400, "limit"},
			{"limit is huge", "GET", "/api/users?limit=101", "", 400, "limit"},
			{"limit is beyond 64 bits", "GET", "/api/users?limit=99999999999999999999", "", 400, "limit"},
			{"limit is a word", "GET", "/api/users?limit=ten", "", 400, "limit"},
			{"limit is a fraction", "GET", "/api/users?limit=1.5", "", 400, "limit"},
			{"limit is SQL", "GET", "/api/users?limit=1%3BDROP+TABLE+users", "", 400, "limit"},
			{"limit comes twice", "GET", "/api/users?limit=1&limit=2", "", 400, "limit"},
			{"query has a semicolon", "GET", "/api/users?role=admin;plan=pro", "", 400, "query role"},
			{"query is cut off", "GET", "/api/users?role=%a", "", 400, "query"},
			{"since comes twice", "GET", "/api/users/export?since=2026-01-31&since=2026-02-01", "", 400, "since"},
			{"filter is misspelled", "GET", "/api/users?roel=admin", "", 400, "roel"},
			{"filter is in capitals", "GET", "/api/users?Role=admin", "", 400, "Role"},
			{"page of another API", "GET", "/api/users?page=2", "", 400, "page"},
			{"export has a limit", "GET", "/api/users/export?limit=1", "", 400, "limit"},
			{"since is misspelled", "GET", "/api/users/export?form=2026-01-31", "", 400, "form"},
			{"cursor is no cursor", "GET", "/api/users?after=2", "", 400, "after"},
			{"cursor is negative", "GET", "/api/users?after=" + cursor([]byte("id:-1")), "", 400, "after"},
			{"cursor is beyond 64 bits", "GET", "/api/users?after=" + cursor([]byte("id:9223372036854775808")), "", 400, "after"},
			{"cursor is SQL", "GET", "/api/users?after=" + cursor([]byte("id:1 OR 1=1")), "", 400, "after"},
			{"role is none", "GET", "/api/users?role=root", "", 400, "role"},
			{"email is SQL", "GET", "/api/users?email=" + url.QueryEscape(injection), "", 400, "email"},
			{"name is NUL", "GET", "/api/users?name=%00", "", 400, "name"},
			{"name is no UTF-8", "GET", "/api/users?name=%ff", "", 400, "name"},
			{"since is SQL", "GET", "/api/users/export?since=" + url.QueryEscape(injection), "", 400, "since"},
			{"since is before all time", "GET", "/api/users/export?since=0001-01-01", "", 400, "since"},
			{"format is none", "GET", "/api/users/export?format=xml", "", 400, "format"},
			{"id is SQL", "GET", "/api/users/1%20OR%201=1", "", 400, "id"},
			{"id is negative", "GET", "/api/users/-1", "", 400, "id"},
			{"id is beyond 64 bits", "GET", "/api/users/9999999999999999999", "", 404, ""},
			{"id is the largest", "GET", "/api/users/9223372036854775807", "", 404, ""},
			{"id has a NUL", "GET", "/api/users/1%00", "", 400, "id"},
			{"session is nobody's", "DELETE", "/api/users/1/sessions/ABCDEFGHIJKLMNOPQRSTUVWXYZ", "", 404, ""},
			{"session is SQL", "DELETE", "/api/users/1/sessions/" + url.PathEscape(injection), "", 400, "session"},
			{"session is NUL", "DELETE", "/api/users/1/sessions/%00", "", 400, "session"},
			{"session is no UTF-8", "DELETE", "/api/users/1/sessions/%ff", "", 400, "session"},
			{"patch of nothing", "PATCH", "/api/users/1", "{}", 400, "body"},
			{"patch is a list", "PATCH", "/api/users/1", "[]", 400, "body"},
			{"patch clears the email", "PATCH", "/api/users/1", `{"email":null}`, 400, "email"},
			{"patch of the id", "PATCH", "/api/users/1", `{"id":2}`, 400, "id"},
			{"link is a script", "PATCH", "/api/users/1", `{"profile":{"website":"javascript:alert(1)"}}`, 400, "profile.website"},
			{"text turns around", "PATCH", "/api/users/1", `{"profile":{"bio":"\u202egnp.exe"}}`, 400, "profile.bio"},
			{"path goes up", "GET", "/api/users/../../etc/passwd", "", 404, ""},
			{"path has slashes", "GET", "//api//users", "", 404, ""},
			{"no route", "GET", "/api", "", 404, ""},
			{"no method", "TRACE", "/api/users", "", 405, ""},
			{"invented method", "BREW", "/api/users", "", 405, ""},
		} {
			a := f.do(tc.method, tc.path, tc.body, admin...)
			if a.StatusCode/100 == 3 { // the path is written in a better way, and asked for again
				continue
			}
			p := decode[problem](f.t, a)
			if a.StatusCode != tc.status || p.Status != tc.status || p.Reason == "" || a.Header.Get("Content-Type") != problemJSON {
				f.t.Errorf("%s: %d %s, want %d as a problem", tc.name, a.StatusCode, a.body, tc.status)
			}
			if tc.field != "" && fields(f, a) != tc.field {
				f.t.Errorf("%s: the details name %q, want %q", tc.name, fields(f, a), tc.field)
			}
		}
		for _, name := range []string{injection, "%", "_", `\`, "A%"} {
			a := f.want(200, f.do("GET", "/api/users?name="+url.QueryEscape(name), "", admin...))
			if strings.Contains(a.body, "example.com") {
				f.t.Errorf("the name %q finds %s", name, a.body)
			}
		}
		if a := f.want(200, f.do("GET", "/api/users", "", admin...)); strings.Count(a.body, `"id":`) != 2 {
			f.t.Errorf("afterwards the users are %s", a.body)
		}
	})
}

// Two spellings of one thing are one thing, and two things that look alike are two.
func TestBadInput_Spellings(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		create := func(email, password, name string) *answer {
			return f.do("POST", "/api/auth/register", `{"email":"`+email+`","password":"`+password+`","name":"`+name+`"}`)
		}
		composed, decomposed := "Zo\u00eb", "Zoe\u0308"
		f.want(201, create("Zoe@B\u00dcCHER.example", "passw\u00f6rt", decomposed))
		for _, same := range []string{"zoe@b\u00fccher.example", "ZOE@xn--bcher-kva.example", "zoe@bu\u0308cher.example"} {
			f.want(409, create(same, "12345678", "Zoe"))
		}
		for _, spelling := range []string{"passw\u00f6rt", "passwo\u0308rt"} {
			a := f.want(200, f.do("POST", "/api/auth/login", `{"email":"zoe@b\u00fccher.EXAMPLE","password":"`+spelling+`"}`))
			token := decode[tokenBody](f.t, a).AccessToken
			if me := f.want(200, f.do("GET", "/api/users/me", "", "Authorization", "Bearer "+token)); !strings.Contains(me.body, `"name":"`+composed+`"`) {
				f.t.Errorf("the name is stored as %s", me.body)
			}
		}
		f.want(401, f.do("POST", "/api/auth/login", `{"email":"zoe@b\u00fccher.example","password":"PASSW\u00d6RT"}`))
		f.want(201, create("ada@example.com", "12345678", "Ada"))
		f.want(201, create("ada@ex\u0430mple.com", "12345678", "Ada")) // a Cyrillic a: xn--exmple-4nf.com
		for _, bad := range []string{
			"\u0430da@example.com", "ada\u200b@example.com", `ada@example.com\u0000`, "ada@exa mple.com", `\"ada\"@example.com`,
			"Ada <ada2@example.com>", "ada2@example.com, eve@example.com", "ada2@[127.0.0.1]", "ada2@localhost", "ada2@example.com\\r\\nBcc: eve@example.com",
			"ada..2@example.com", ".ada@example.com", "ada2@-example.com", strings.Repeat("a", 65) + "@example.com",
		} {
			if a := create(bad, "12345678", "Ada"); a.StatusCode != 400 || fields(f, a) != "email" {
				f.t.Errorf("%q: %d %s, want 400 for email", bad, a.StatusCode, a.body)
			}
		}
		for _, bad := range []string{"        ", "\u00a0\u2003\u3000\u00a0\u2003\u3000\u00a0\u2003", "1234567", `12345678\u0000`} {
			if a := create("eve@example.com", bad, "Eve"); a.StatusCode != 400 || fields(f, a) != "password" {
				f.t.Errorf("password %q: %d %s, want 400 for password", bad, a.StatusCode, a.body)
			}
		}
	})
}

// Nothing but JSON is read as JSON.
func TestBadInput_ContentTypes(t *testing.T) {
	f := onSQLite(t, nil)
	body := `{"email":"ada@example.com","password":"12345678","name":"Ada"}`
	for _, ct := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "application/jsonp", "text/json", "nonsense", "application/cbor"} {
		a := f.want(http.StatusUnsupportedMediaType, f.do("POST", "/api/auth/register", body, "Content-Type", ct))
		if p := decode[problem](t, a); p.Status != 415 || a.Header.Get("Content-Type") != problemJSON {
			t.Errorf("%s: %s", ct, a.body)
		}
	}
	f.want(400, f.do("POST", "/api/auth/register", "\xef\xbb\xbf"+body)) // a byte order mark is no JSON
	f.want(413, f.do("POST", "/api/auth/register", body+strings.Repeat(" ", maxBody)))
	f.want(201, f.do("POST", "/api/auth/register", body, "Content-Type", "application/json; charset=utf-8"))
}

// A pool without a free connection is a 503 that says when to come back, within the
// time of a query.
func TestPool_ExhaustedIs503(t *testing.T) {
	const limit = 300 * time.Millisecond
	for name, conf := range map[string]sql.Config{"sqlite": {Dir: t.TempDir()}, "postgres": {URL: pgtest.Database(t)}} {
		t.Run(name, func(t *testing.T) {
			conf.MaxConns, conf.QueryTimeout = 1, limit
			f := newFixture(t, conf, nil)
			held, release := make(chan struct{}), make(chan struct{})
			hold := func() { close(held); <-release }
			over := make(chan struct{})
			go func() { defer close(over); f.hold(hold) }()
			<-held
			begun := time.Now()
			a := f.do("POST", "/api/auth/register", `{"email":"ada@example.com","password":"12345678","name":"Ada"}`)
			if took := time.Since(begun); took > limit+5*time.Second {
				t.Errorf("it took %s to say so", took)
			}
			if a.StatusCode != 503 || a.Header.Get("Retry-After") != "1" {
				t.Errorf("status %d, Retry-After %q, want 503 and 1; %s", a.StatusCode, a.Header.Get("Retry-After"), a.body)
			}
			close(release)
			<-over
			f.want(201, f.do("POST", "/api/auth/register", `{"email":"ada@example.com","password":"12345678","name":"Ada"}`))
		})
	}
}

// hold keeps the only connection that writes while fn runs.
func (f *fixture) hold(fn func()) {
	if pool := f.db.Postgres(); pool != nil {
		conn, err := pool.Acquire(f.t.Context())
		if err != nil {
			f.t.Error(err)
			return
		}
		defer conn.Release()
		fn()
		return
	}
	tx, err := f.db.SQLite().BeginTx(f.t.Context(), nil)
	if err != nil {
		f.t.Error(err)
		return
	}
	defer tx.Rollback()
	fn()
}

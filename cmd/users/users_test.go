package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/fairway-gateway/fairway/backend/auth"
	api "github.com/fairway-gateway/fairway/backend/http"
	"github.com/fairway-gateway/fairway/backend/sql"
	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// env is an environment without anything but the given pairs.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// users runs the program to its end.
func users(getenv func(string) string, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, getenv, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestMistakes_OneLineAndANonZeroExit(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	none := env()
	for name, tc := range map[string]struct {
		getenv func(string) string
		args   []string
		want   string
	}{
		"port in use":          {none, []string{"serve", "--listen", busy.Addr().String(), "--data", t.TempDir()}, busy.Addr().String()},
		"no address":           {none, []string{"serve", "--listen", "nonsense", "--data", t.TempDir()}, `"nonsense"`},
		"another database":     {none, []string{"serve", "--listen", "127.0.0.1:0", "--database-url", "mysql://x"}, `"mysql"`},
		"database is down":     {none, []string{"migrate", "--database-url", "postgres://u:hunter2@127.0.0.1:1/x"}, "127.0.0.1:1"},
		"broken database URL":  {none, []string{"migrate", "--database-url", "postgres://u:hunter2@host:port/x"}, "port"},
		"database by parts":    {env("DB_HOST", "127.0.0.1", "DB_PORT", "1", "DB_PASSWORD", "hunter2"), []string{"migrate"}, "127.0.0.1:1"},
		"data is a file":       {none, []string{"migrate", "--data", "/dev/null/x"}, `--data "/dev/null/x"`},
		"registration":         {none, []string{"serve", "--registration", "closed"}, `"closed"`},
		"external API":         {none, []string{"serve", "--external-api", "ftp://x"}, `"ftp://x"`},
		"proxies":              {none, []string{"serve", "--trusted-proxies", "10.0.0.1"}, `"10.0.0.1"`},
		"words for a database": {env("DATABASE_URL", "host=db password=hunter2"), []string{"migrate"}, "DATABASE_URL"},
		"duration variable":    {env("DATABASE_QUERY_TIMEOUT", "soon"), []string{"migrate"}, `DATABASE_QUERY_TIMEOUT: "soon"`},
		"number variable":      {env("DATABASE_MAX_CONNECTIONS", "many"), []string{"migrate"}, `DATABASE_MAX_CONNECTIONS: "many"`},
		"toggle variable":      {env("USERS_INSECURE_TEST_ARGON2", "perhaps"), []string{"serve"}, `"perhaps"`},
		"mail server":          {none, []string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--smtp-url", "http://x"}, "--smtp-url"},
		"two ways to gateways": {none, []string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--redis-url", "redis://x", "--gateway-admin", "http://x"}, "only one"},
		"redis":                {none, []string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--redis-url", "http://:hunter2@x"}, "--redis-url"},
		"gateway's admin API":  {none, []string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--gateway-admin", "localhost:2019"}, `"localhost:2019"`},
		"public URL":           {none, []string{"serve", "--public-url", "www"}, `"www"`},
		"age of keys":          {none, []string{"serve", "--key-age", "1m"}, "1m"},
		"rotation too soon":    {none, []string{"keys", "rotate", "--data", t.TempDir()}, "not published for long enough"},
		"seed is no number":    {none, []string{"seed", "many", "--data", t.TempDir()}, `"many"`},
		"export format":        {none, []string{"export", "--format", "xml", "--data", t.TempDir()}, `"xml"`},
		"export since":         {none, []string{"export", "--since", "soon", "--data", t.TempDir()}, `"soon"`},
		"metrics port in use":  {none, []string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--metrics", busy.Addr().String()}, "--metrics"},
		"backup over a file":   {none, []string{"backup", os.Args[0], "--data", t.TempDir()}, os.Args[0]},
		"mail sender":          {none, []string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--mail-from", "nobody"}, `"nobody"`},
		"job state":            {none, []string{"jobs", "list", "--data", t.TempDir(), "--state", "dead"}, `"dead"`},
		"job limit":            {none, []string{"jobs", "list", "--data", t.TempDir(), "--limit", "0"}, "--limit"},
		"job id":               {none, []string{"jobs", "retry", "x", "--data", t.TempDir()}, `"x"`},
		"no such job":          {none, []string{"jobs", "retry", "7", "--data", t.TempDir()}, "no job 7"},
		"unknown flag":         {none, []string{"serve", "--port", "1"}, "--port"},
		"unknown command":      {none, []string{"start"}, `"start"`},
		"shutdown too short":   {none, []string{"serve", "--drain-delay", "30s"}, "--shutdown-timeout"},
		"events into a file":   {none, []string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--analytics", "/dev/null/x"}, "--analytics"},
		"job timeout":          {none, []string{"serve", "--job-timeout", "1ms"}, "1ms"},
		"stray argument":       {none, []string{"serve", "now"}, `"now"`},
		"password argument":    {none, []string{"admin", "create", "--email", "a@b.co", "--name", "Ada", "--data", t.TempDir()}, "--password-stdin"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := users(tc.getenv, "", tc.args...)
			if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "users: ") || !strings.Contains(stderr, tc.want) {
				t.Errorf("exit %d, stderr %q: want 1 and one line with %s", code, stderr, tc.want)
			}
			if strings.Contains(stderr, "hunter2") {
				t.Errorf("stderr shows the password: %s", stderr)
			}
		})
	}
}

func TestHelp_ShowsNoPassword(t *testing.T) {
	getenv := env("DATABASE_URL", "postgres://u:hunter2@db/x")
	code, stdout, _ := users(getenv, "", "serve", "--help")
	if code != 0 || !strings.Contains(stdout, "DATABASE_URL") || strings.Contains(stdout, "hunter2") {
		t.Errorf("exit %d, help %s", code, stdout)
	}
}

func TestAdminCreate(t *testing.T) {
	for name, db := range map[string]sql.Config{"sqlite": {Dir: t.TempDir()}, "postgres": {URL: pgtest.Database(t)}} {
		t.Run(name, func(t *testing.T) {
			args := []string{"admin", "create", "--data", db.Dir, "--database-url", db.URL, "--email", "Ada@example.com", "--name", "Ada", "--password-stdin"}
			if code, stdout, stderr := users(env(), "correct horse\n", args...); code != 0 || stdout != `{"id":1,"email":"ada@example.com"}` {
				t.Fatalf("exit %d, %s, %s", code, stdout, stderr)
			}
			code, stdout, stderr := users(env(), "", "jobs", "list", "--state", "available", "--data", db.Dir, "--database-url", db.URL)
			if code != 0 || strings.Count(stdout, `"kind":"mail"`) != 1 {
				t.Errorf("the welcome mail is not noted: exit %d, %s, %s", code, stdout, stderr)
			}
			var noted struct{ ID int64 }
			if err := json.NewDecoder(strings.NewReader(stdout)).Decode(&noted); err != nil {
				t.Fatal(err)
			}
			if code, _, stderr := users(env(), "", "jobs", "retry", fmt.Sprint(noted.ID), "--data", db.Dir, "--database-url", db.URL); code != 0 {
				t.Errorf("jobs retry %d: exit %d, %s", noted.ID, code, stderr)
			}
			if code, _, stderr := users(env(), "correct horse\n", args...); code != 1 || !strings.Contains(stderr, "already registered") {
				t.Errorf("again: exit %d, %s", code, stderr)
			}
			if code, _, stderr := users(env(), "short\n", args...); code != 1 || !strings.Contains(stderr, "password") {
				t.Errorf("with a short password: exit %d, %s", code, stderr)
			}
		})
	}
}

func TestKeysRotate(t *testing.T) {
	for name, db := range map[string]sql.Config{"sqlite": {Dir: t.TempDir()}, "postgres": {URL: pgtest.Database(t)}} {
		t.Run(name, func(t *testing.T) {
			flags := []string{"--data", db.Dir, "--database-url", db.URL}
			var before string
			for range 2 {
				code, stdout, stderr := users(env(), "", append([]string{"keys", "rotate", "--force"}, flags...)...)
				if code != 0 || !strings.HasPrefix(stdout, `{"active":"`) || stdout == before {
					t.Fatalf("exit %d, %s, %s", code, stdout, stderr)
				}
				before = stdout
			}
			code, stdout, stderr := users(env(), "", append([]string{"keys", "list"}, flags...)...)
			if code != 0 || strings.Count(stdout, `"state":"retired"`) != 2 || strings.Count(stdout, `"state":"active"`) != 1 || strings.Contains(stdout, "private") {
				t.Errorf("exit %d, %s, %s", code, stdout, stderr)
			}
		})
	}
}

func TestSeedAndExport(t *testing.T) {
	for name, db := range map[string]sql.Config{"sqlite": {Dir: t.TempDir()}, "postgres": {URL: pgtest.Database(t)}} {
		t.Run(name, func(t *testing.T) {
			flags := []string{"--data", db.Dir, "--database-url", db.URL}
			for range 2 { // the second thousand follows the first
				if code, _, stderr := users(env(), "correct horse\n", append([]string{"seed", "1100", "--password-stdin"}, flags...)...); code != 0 {
					t.Fatal(stderr)
				}
			}
			code, stdout, stderr := users(env(), "", append([]string{"export"}, flags...)...)
			if code != 0 || strings.Count(stdout, "\n") != 2201 {
				t.Errorf("exit %d, %d lines, %s", code, strings.Count(stdout, "\n"), stderr)
			}
			if code, stdout, _ := users(env(), "", append([]string{"export", "--since", "2999-01-01", "--format", "ndjson"}, flags...)...); code != 0 || stdout != "" {
				t.Errorf("exit %d, %s", code, stdout)
			}
		})
	}
}

func TestMetrics_AreServed(t *testing.T) {
	conf := &api.Config{}
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	stop, err := serveMetrics(t.Context(), l.Addr().String(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	db, err := openMigrated(t.Context(), sql.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	observe(conf.Metrics, db, auth.NewHasher(auth.TestCost))
	resp, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	for _, want := range []string{"fairway_users_hashes_max ", "fairway_users_database_connections_max 1", "go_goroutines"} {
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s, %v", want, b, err)
		}
	}
}

func TestURLFromParts(t *testing.T) {
	for want, getenv := range map[string]func(string) string{
		"":                                   env(),
		"postgres://fairway@db:5432/fairway": env("DB_HOST", "db"),
		"postgres://a%3Ab:p%40ss@db:6432/x?sslmode=disable": env("DB_HOST", "db", "DB_PORT", "6432", "DB_USER", "a:b", "DB_PASSWORD", "p@ss", "DB_NAME", "x", "DB_SSLMODE", "disable"),
		"postgres://fairway@[::1]:5432/fairway":             env("DB_HOST", "::1"),
	} {
		if got := urlFromParts(getenv); got != want {
			t.Errorf("urlFromParts() = %q, want %q", got, want)
		}
	}
}

package pgtest

import (
	"net/url"
	"path/filepath"
	"syscall"
	"testing"
)

// Replica is a second server that streams what happens in the first one: it can
// only be read, and is a moment behind.
type Replica struct {
	t testing.TB
	server
	postgres string
	owner    *syscall.Credential
	// URL is that of the copy of the database.
	URL string
}

// StartReplica copies the server of a database that Database returned and starts
// the copy as its standby. It ends with the test.
func StartReplica(t testing.TB, database string) *Replica {
	t.Helper()
	initdb, err := find("initdb")
	if err != nil {
		t.Fatal(err)
	}
	programs := filepath.Dir(initdb)
	r := &Replica{t: t, postgres: filepath.Join(programs, "postgres")}
	if r.owner, err = credential(); err != nil {
		t.Fatal(err)
	}
	if r.dir, err = makeDir(r.owner); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	if err := command(r.dir, r.owner, filepath.Join(programs, "pg_basebackup"), "-d", shared.url("postgres"), "-D", filepath.Join(r.dir, "data"),
		"-R", "--checkpoint=fast", "--no-sync"); err != nil {
		t.Fatal(err)
	}
	if r.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	r.URL = r.url(u.Path[1:])
	r.Start()
	return r
}

// Start starts it after a Stop.
func (r *Replica) Start() {
	r.t.Helper()
	r.run(r.postgres, filepath.Join(r.dir, "data"), r.owner)
	if err := r.wait(); err != nil {
		r.t.Fatalf("starting the replica: %v", err)
	}
}

// Stop ends it at once, as a crash would, and loses its connections.
func (r *Replica) Stop() { r.end(syscall.SIGQUIT) }

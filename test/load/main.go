// Command load puts the whole stack under load: the gateway with the Caddyfile in
// this folder, and behind it the user service on SQLite. It starts both itself.
//
//	go run ./test/load                seven minutes in three phases, then the cost of passwords
//	go run ./test/load -short         the same in seconds: checks that everything works
//	go run ./test/load -artillery     Artillery sends the load instead (test/load/artillery.yml)
//
// Of the requests, 70 % create a user and 30 % read one of the users 1 to 1000.
// They arrive at a fixed rate, whether or not those before them were answered
// (an open model), and how long one took counts from when it was due: a server
// that stalls cannot make the load wait for it. A request without an answer, or
// with another status than 201 or 200, is an error, and one error fails the run.
// So does a user who was created and is not there, or who got no mail.
//
// A password costs 30 ms of a processor by design, which is more than everything
// else together. The phases therefore run with --insecure-test-argon2; after them
// the service runs at its production cost, is offered more than it can hash, and
// has to answer the excess with 503 and Retry-After.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// options are the command line.
type options struct {
	Short     bool
	Artillery bool
	Database  string // a PostgreSQL URL; SQLite when empty
	Fairway   string
	Users     string
	Folder    string // of the Caddyfile and of artillery.yml
}

func main() {
	var o options
	flag.BoolVar(&o.Short, "short", false, "seconds instead of minutes")
	flag.BoolVar(&o.Artillery, "artillery", false, "have Artillery send the load, by npx")
	flag.StringVar(&o.Database, "database-url", "", "PostgreSQL for the service; it must be empty (default: SQLite)")
	flag.StringVar(&o.Fairway, "fairway", "bin/fairway", "the gateway's program, as `make build` makes it")
	flag.StringVar(&o.Users, "users", "bin/users", "the user service's program")
	flag.StringVar(&o.Folder, "config", "test/load", "folder of the Caddyfile and of artillery.yml")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	s, err := newStack(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if o.Artillery {
		return s.artillery(ctx, o)
	}
	created, err := s.phases(ctx, o)
	if err != nil {
		return err
	}
	if err := s.audit(ctx, created); err != nil {
		return err
	}
	return s.production(ctx, o)
}

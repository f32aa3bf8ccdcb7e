// Command run starts the gateway and the bundled user service on this machine,
// waits until both are healthy, shows what to try, and stops both on Ctrl-C. It
// is what `make run` ends with, and takes what `make build` made:
//
//	go run ./cmd/build && go build -o bin/users ./cmd/users
//	go run ./cmd/run
//
// State and logs are under ./data. The environment moves the addresses, for the
// programs it starts as well: FAIRWAY_LISTEN (:8080), FAIRWAY_ADMIN
// (localhost:2019) and USERS_LISTEN (127.0.0.1:8081). If one of the two programs
// ends, the other is stopped and the exit code is 1. It is for trying Fairway
// out: in production, a service manager does this.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// init keeps main on the process's first thread: where a child is told of its
// parent's death, the parent is the thread that started it (prctl(2)).
func init() { runtime.LockOSThread() }

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	o := defaults(os.Getenv)
	flag.StringVar(&o.gateway, "gateway", o.gateway, "the gateway's binary")
	flag.StringVar(&o.users, "users", o.users, "the user service's binary")
	flag.StringVar(&o.config, "config", o.config, "the gateway's Caddyfile")
	flag.StringVar(&o.data, "data", o.data, "folder for state and logs")
	flag.Parse()
	if err := run(o, signals, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "run: %v\n", err)
		os.Exit(1)
	}
}

// options say what to start and where it listens.
type options struct {
	gateway string // bin/fairway
	users   string // bin/users
	config  string // Caddyfile.example
	data    string // ./data

	gatewayListen string // :port, as the Caddyfile's site address
	admin         string // host:port of Caddy's admin endpoint, or off
	usersListen   string // host:port

	// How long each program has to become healthy.
	wait time.Duration

	// How long each program has to stop before it is killed. Both drain for up
	// to 30 s.
	grace time.Duration
}

func defaults(getenv func(string) string) options {
	or := func(name, fallback string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return fallback
	}
	return options{
		gateway:       "bin/fairway",
		users:         "bin/users",
		config:        "Caddyfile.example",
		data:          "data",
		gatewayListen: or("FAIRWAY_LISTEN", ":8080"),
		admin:         or("FAIRWAY_ADMIN", "localhost:2019"),
		usersListen:   or("USERS_LISTEN", "127.0.0.1:8081"),
		wait:          time.Minute,
		grace:         35 * time.Second,
	}
}

package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// run starts the user service and then the gateway, and returns when both have
// stopped: nil after a signal, an error if one of them ended by itself or did
// not stop cleanly.
func run(o options, signals <-chan os.Signal, out io.Writer) error {
	if err := check(o); err != nil {
		return err
	}
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	users, err := start("users", o, o.users, "serve", "--listen", o.usersListen, "--data", o.data)
	if err != nil {
		return err
	}
	signalled, err := awaitHealthy(users, "http://"+o.usersListen+"/health", o.wait, signals)
	if signalled || err != nil {
		return firstError(err, stop(o.grace, signals, users))
	}
	gateway, err := start("fairway", o, o.gateway, "run", "--config", o.config, "--adapter", "caddyfile")
	if err != nil {
		return firstError(err, stop(o.grace, signals, users))
	}
	base := "http://127.0.0.1" + o.gatewayListen
	signalled, err = awaitHealthy(gateway, base+"/health", o.wait, signals)
	if !signalled && err == nil {
		hints(out, base, o)
		err = untilOver(signals, gateway, users)
	}
	fmt.Fprintln(out, "\nrun: stopping: the gateway first, then the user service; Ctrl-C again to kill them")
	err = firstError(err, stop(o.grace, signals, gateway, users))
	if err == nil {
		fmt.Fprintln(out, "run: both have stopped")
	}
	return err
}

// untilOver waits for a signal, which is nil, or for a program's end.
func untilOver(signals <-chan os.Signal, gateway, users *service) error {
	select {
	case <-signals:
		return nil
	case <-gateway.done:
		return gateway.ended()
	case <-users.done:
		return users.ended()
	}
}

// firstError prefers the cause to what went wrong on the way out.
func firstError(cause, after error) error {
	if cause != nil {
		return cause
	}
	return after
}

// revocations has the user service tell the gateway which tokens are no longer
// good: by the Redis that both use, or else by the admin endpoint.
func revocations(o options, getenv func(string) string) []string {
	if getenv("USERS_REDIS_URL") != "" || getenv("USERS_GATEWAY_ADMIN") != "" {
		return nil
	}
	// The service knows a single Redis, not a Cluster or a Sentinel.
	redis := getenv("REDIS_URL")
	if strings.HasPrefix(redis, "redis://") || strings.HasPrefix(redis, "rediss://") {
		return []string{"USERS_REDIS_URL=" + redis}
	}
	host, port, err := net.SplitHostPort(o.admin)
	if err != nil {
		return nil // off
	}
	return []string{"USERS_GATEWAY_ADMIN=http://" + net.JoinHostPort(cmp.Or(host, "localhost"), port)}
}

// environment is what the started programs get: this process's, with the
// addresses agreed between them, and Caddy's own state kept in the data folder.
func environment(o options) ([]string, error) {
	data, err := filepath.Abs(o.data)
	if err != nil {
		return nil, err
	}
	env := append(
		os.Environ(),
		"FAIRWAY_LISTEN="+o.gatewayListen,
		"FAIRWAY_ADMIN="+o.admin,
		"FAIRWAY_DATA="+data,
		"USERS_ADDRESS="+o.usersListen,
	)
	env = append(env, revocations(o, os.Getenv)...)
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		if os.Getenv(name) == "" {
			env = append(env, name+"="+data)
		}
	}
	return env, nil
}

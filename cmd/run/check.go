package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// check finds what would keep the two programs from starting, while it can
// still be said in one line.
func check(o options) error {
	for _, file := range []string{o.gateway, o.users, o.config} {
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: no such file: run `make build` in the repository's root first", file)
		}
	}
	if port, ok := strings.CutPrefix(o.gatewayListen, ":"); !ok || !isPort(port) {
		return fmt.Errorf("FAIRWAY_LISTEN: want :port, got %q", o.gatewayListen)
	}
	if err := checkAddress("USERS_LISTEN", "the user service", o.usersListen); err != nil {
		return err
	}
	if err := checkAddress("FAIRWAY_LISTEN", "the gateway", o.gatewayListen); err != nil {
		return err
	}
	if o.admin == "off" {
		return nil
	}
	return checkAddress("FAIRWAY_ADMIN", "the gateway's admin endpoint", o.admin)
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// checkAddress listens for a moment. Caddy itself would not notice a taken
// port: it sets SO_REUSEPORT, and two gateways would share the traffic.
func checkAddress(variable, who, addr string) error {
	if _, port, err := net.SplitHostPort(addr); err != nil || !isPort(port) {
		return fmt.Errorf("%s: want host:port, got %q", variable, addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return fmt.Errorf("%s cannot listen on %s: %w (another address: set %s)", who, addr, err, variable)
	}
	return ln.Close()
}

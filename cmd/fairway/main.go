// Command fairway is the gateway: Caddy's command line with Caddy's standard
// modules and Fairway's own. It is the same program that cmd/build makes through
// xcaddy, by plain `go build ./cmd/fairway`.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/fairway-gateway/fairway/modules"
)

func main() {
	caddycmd.Main()
}

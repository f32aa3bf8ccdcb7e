#!/bin/sh
# Runs the HTTP caching tests of npm's http-cache-tests through a gateway whose
# only handler before the origin is a bare `cache`, and prints the passes by kind.
#
#   run.sh GATEWAY [SUITE]
#
# GATEWAY is the fairway binary. SUITE is a folder that holds the suite; without
# it http-cache-tests 0.4.5 is fetched with npm. With GATE=FILE, a file of lines
# "kind passes", it fails if fewer tests of a kind pass. RESULTS=FILE keeps the
# result of each test as JSON. ORIGIN_PORT and GATEWAY_PORT choose the ports.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
gateway=$1
suite=${2:-}
export ORIGIN_PORT=${ORIGIN_PORT:-18400} GATEWAY_PORT=${GATEWAY_PORT:-18401}
work=$(mktemp -d)
pids=
stop() {
	for p in $pids; do kill "$p" 2>/dev/null || :; done
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 1' INT TERM

if [ -z "$suite" ]; then
	(cd "$work" && npm pack --silent http-cache-tests@0.4.5 >/dev/null && tar xzf http-cache-tests-0.4.5.tgz)
	suite=$work/package
	(cd "$suite" && npm install --silent --no-save --no-audit --no-fund --ignore-scripts --omit=dev node-fetch@2 >/dev/null 2>&1)
fi

server=$suite/server/server.mjs
[ -f "$server" ] || server=$suite/test-engine/server/server.mjs
(cd "$suite" && npm_config_protocol=http npm_config_port=$ORIGIN_PORT npm_config_pidfile="$work/origin.pid" \
	exec node --no-warnings "$server" >"$work/origin.log" 2>&1) &
pids="$pids $!"
XDG_DATA_HOME="$work" XDG_CONFIG_HOME="$work" "$gateway" run --adapter caddyfile --config "$here/Caddyfile" >"$work/gateway.log" 2>&1 &
pids="$pids $!"

n=0
until curl -sf -o /dev/null "http://127.0.0.1:$GATEWAY_PORT/package.json"; do
	n=$((n + 1))
	if [ $n -gt 100 ]; then
		cat "$work/origin.log" "$work/gateway.log" >&2
		exit 1
	fi
	sleep 0.1
done
GATE="${GATE:-}" RESULTS="${RESULTS:-}" node --no-warnings "$here/run.mjs" "$suite" "http://127.0.0.1:$GATEWAY_PORT"

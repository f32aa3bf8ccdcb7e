#!/bin/sh
# Runs the HTTP caching tests of npm's http-cache-tests through a gateway whose
# only handler before the origin is a bare `cache`, and prints the passes by kind
# and each test that is not passed, with why.
#
#   run.sh GATEWAY [SUITE]
#
# GATEWAY is the fairway binary. SUITE is a folder that holds the suite; without
# it http-cache-tests 0.4.5 is fetched with npm. With GATE=FILE, a file of lines
# "kind passes", it fails if fewer tests of a kind pass, or if one does not pass
# that is not in the file `not-passed`; it tries three times, since the suite
# measures seconds. RESULTS=FILE keeps the result of each test as JSON.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
gateway=$1
suite=${2:-}
limit=240 # seconds for one run; it takes a minute
work=$(mktemp -d)
pids=
stop() {
	for p in $pids; do kill "$p" 2>/dev/null || :; done
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 1' INT TERM

if [ -z "$suite" ]; then
	# a registry that is slow or away must not hold up the build for ever
	export npm_config_fetch_timeout=30000 npm_config_fetch_retries=3 npm_config_fetch_retry_maxtimeout=10000
	if ! (
		cd "$work"
		timeout 120 npm pack --silent http-cache-tests@0.4.5 >npm.log 2>&1 && tar xzf http-cache-tests-0.4.5.tgz && cd package &&
			timeout 120 npm install --silent --no-save --no-audit --no-fund --ignore-scripts --omit=dev node-fetch@2 >>../npm.log 2>&1
	); then
		echo "run.sh: npm cannot fetch http-cache-tests 0.4.5:" >&2
		tail -n 20 "$work/npm.log" >&2
		exit 1
	fi
	suite=$work/package
fi

free_port() {
	node -e 's = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'
}
ORIGIN_PORT=${ORIGIN_PORT:-$(free_port)}
GATEWAY_PORT=${GATEWAY_PORT:-$(free_port)}
export ORIGIN_PORT GATEWAY_PORT

server=$suite/server/server.mjs
[ -f "$server" ] || server=$suite/test-engine/server/server.mjs
(cd "$suite" && npm_config_protocol=http npm_config_port=$ORIGIN_PORT npm_config_pidfile="$work/origin.pid" \
	exec node --no-warnings "$server" >"$work/origin.log" 2>&1) &
pids="$pids $!"
XDG_DATA_HOME="$work" XDG_CONFIG_HOME="$work" "$gateway" run --adapter caddyfile --config "$here/Caddyfile" >"$work/gateway.log" 2>&1 &
pids="$pids $!"

n=0
until curl -sf -m 5 -o /dev/null "http://127.0.0.1:$GATEWAY_PORT/package.json"; do
	n=$((n + 1))
	if [ $n -gt 100 ]; then
		cat "$work/origin.log" "$work/gateway.log" >&2
		exit 1
	fi
	sleep 0.1
done

run() {
	GATE="${GATE:-}" RESULTS="${RESULTS:-}" timeout "$limit" node --no-warnings "$here/run.mjs" "$suite" "http://127.0.0.1:$GATEWAY_PORT"
}
again() {
	[ -n "${GATE:-}" ] && echo "run.sh: once more" >&2 && run
}
run || again || again

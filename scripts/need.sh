#!/bin/sh
# Makes sure that the programs which the tests start are there.
#
#	sh scripts/need.sh test     redis-server, PostgreSQL, node and npm
#	sh scripts/need.sh bench    redis-server, PostgreSQL and wrk
#
# As root on a system with apt-get it installs what is missing. Elsewhere it
# prints one line that says what to install, and exits 1.
set -eu

have() {
	case $1 in
	# Debian keeps PostgreSQL's programs out of PATH.
	initdb) command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ;;
	*) command -v "$1" >/dev/null 2>&1 ;;
	esac
}

# need PROGRAM PACKAGE: notes the Debian package of a program that is missing.
missing=
need() {
	have "$1" || missing="$missing $2"
}

case ${1-} in
test)
	need redis-server redis-server
	need initdb postgresql
	need node nodejs
	need npm npm
	;;
bench)
	need redis-server redis-server
	need initdb postgresql
	need wrk wrk
	;;
*)
	echo "need.sh: want test or bench, got \"${1-}\"" >&2
	exit 2
	;;
esac
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "need.sh: missing; please install (names as in Debian):$missing" >&2
	exit 1
fi
echo "need.sh: installing$missing"
# RUNLEVEL=1 keeps Debian from starting the services: the tests start their own.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # a list of words
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "need.sh: apt-get could not install$missing" >&2
	exit 1
fi

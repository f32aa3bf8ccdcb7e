#!/bin/sh
# Runs the fuzz targets of a folder and those below it, one after the other.
#
#	sh scripts/fuzz.sh 20s ./modules     each for 20 seconds
set -eu
usage='usage: fuzz.sh TIME FOLDER, as in fuzz.sh 20s ./modules'
time=${1:?"$usage"} folder=${2:?"$usage"}
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# fuzz PACKAGE TARGET: fails if an input does, and says which.
fuzz() {
	go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$time" >"$out" 2>&1
}

# ended: whether the last run failed only because its time was up while an input
# was still running, which `go test` takes for a failure (golang.org/issue/75804).
ended() {
	grep -q 'context deadline exceeded' "$out" && ! grep -q 'Failing input' "$out"
}

grep -rn --include='*_test.go' '^func Fuzz' "$folder" | sort | while IFS=: read -r file _ line; do
	target=${line#func }
	target=${target%%(*}
	package=$(dirname "$file")
	if ! fuzz "$package" "$target" && ! { ended && fuzz "$package" "$target"; } && ! ended; then
		cat "$out"
		exit 1
	fi
	printf '%s %s: %s\n' "$package" "$target" "$(grep '^fuzz: elapsed' "$out" | tail -n 1)"
done

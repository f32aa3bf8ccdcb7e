#!/bin/sh
# Runs every fuzz target of the project, one after the other.
#
#	sh scripts/fuzz.sh 20s     each for 20 seconds
set -eu
time=${1:?"usage: fuzz.sh TIME, as 20s"}

grep -rn --include='*_test.go' '^func Fuzz' . | sort | while IFS=: read -r file _ line; do
	name=${line#func }
	go test "$(dirname "$file")" -run '^$' -fuzz "^${name%%(*}\$" -fuzztime "$time" </dev/null
done

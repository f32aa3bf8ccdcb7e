package main

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
)

// describe is what a build from this folder calls itself: the nearest tag, the
// commits since, and whether files were changed. "devel" where git or its
// repository is missing, as in an unpacked archive.
func describe(ctx context.Context, dir string) string {
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "describe", "--tags", "--always", "--dirty").Output()
	v := strings.TrimSpace(string(out))
	switch {
	case err != nil || v == "":
		return "devel"
	case !strings.HasPrefix(v, "v"):
		return "devel-" + v // no tag yet: a bare commit
	}
	return v
}

// newer says whether version a comes after b; both have the form of
// versionForm, or a is empty. Of two versions that differ only in their
// suffix, the one without is newer (Semantic Versioning 2.0.0, 11).
func newer(a, b string) bool {
	x, xs := splitVersion(a)
	y, ys := splitVersion(b)
	for i := range x {
		if x[i] != y[i] {
			return x[i] > y[i]
		}
	}
	if xs == "" || ys == "" {
		return xs == "" && ys != ""
	}
	return xs > ys
}

// splitVersion takes v1.2.3-rc.1 apart into its three numbers and the suffix.
func splitVersion(v string) (n [3]int, suffix string) {
	core, suffix, _ := strings.Cut(strings.TrimPrefix(v, "v"), "-")
	for i, part := range strings.SplitN(core, ".", 3) {
		n[i], _ = strconv.Atoi(part)
	}
	return n, suffix
}

package main

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// shadow makes the go command find no published version of the modules that
// come from a folder. xcaddy runs `go get`, which asks the module proxy for
// the versions of a replaced module too, and a proxy that answers anything but
// 404 for a module it does not know then fails the build. So each such module
// gets an empty version list in a folder that is asked first. It returns the
// value for GOPROXY.
func shadow(ctx context.Context, goCmd toolchain, dir string, modules []string) (string, error) {
	for _, m := range modules {
		list := filepath.Join(dir, filepath.FromSlash(escapeModule(m)), "@v", "list")
		if err := os.MkdirAll(filepath.Dir(list), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(list, nil, 0o644); err != nil {
			return "", err
		}
	}
	rest, err := goCmd.run(ctx, "env", "GOPROXY")
	if err != nil {
		return "", err
	}
	first := url.URL{Scheme: "file", Path: filepath.ToSlash(dir)}
	return first.String() + "," + rest, nil
}

// escapeModule writes a module path as the proxy protocol does: an upper-case
// letter becomes "!" and the lower-case one.
func escapeModule(path string) string {
	var b strings.Builder
	for _, r := range path {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

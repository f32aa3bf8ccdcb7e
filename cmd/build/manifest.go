package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

// manifest is xcaddy.toml: what a gateway binary is built from.
type manifest struct {
	// Caddy's exact version, such as v2.11.9. Required.
	Caddy string `toml:"caddy"`

	// The file to write, relative to the manifest. Required, unless -o names
	// another.
	Output string `toml:"output"`

	// Go build tags. Default: none.
	Tags []string `toml:"tags"`

	// Flags for Go's linker; {version} stands for Version. Default: none.
	LDFlags string `toml:"ldflags"`

	// What the binary calls itself. Default: `git describe` in the manifest's
	// folder, or "devel" outside a repository.
	Version string `toml:"version"`

	// The Caddy modules to build in. At least one.
	Modules []module `toml:"module"`

	// Dependencies to take from elsewhere, as go.mod's replace does.
	Replacements []replacement `toml:"replacement"`

	file  string    // as the user named it, for messages
	dir   string    // absolute folder of the file; relative paths start here
	lines lineIndex // where each key stands, for messages
}

// module is one Caddy module: from the module proxy (Version) or from a folder
// on this machine (Local). Exactly one of the two is set.
type module struct {
	// Import path of the package that registers the module.
	Path string `toml:"path"`

	// Exact version of the Go module that holds the package.
	Version string `toml:"version"`

	// Folder with the go.mod of the Go module that holds the package,
	// relative to the manifest.
	Local string `toml:"local"`
}

// replacement swaps one Go module for another, wherever it is depended on.
type replacement struct {
	// Go module path to replace.
	Old string `toml:"old"`

	// A folder (starting with ./, ../ or /), or path@version.
	New string `toml:"new"`
}

// readManifest reads and checks a manifest. Each error is one line that starts
// with the file and, where one is known, the line.
func readManifest(file string) (*manifest, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, bareReason(err))
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	m := &manifest{file: file, dir: filepath.Dir(abs), lines: indexLines(string(text))}
	meta, err := toml.Decode(string(text), m)
	if err != nil {
		return nil, m.syntaxError(err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, m.unknownKey(unknown[0])
	}
	return m, m.check()
}

// bareReason drops the path from a file error: the caller names it already.
func bareReason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// typeMistake is how the TOML library words a value of the wrong type.
var typeMistake = regexp.MustCompile(`line (\d+) \(last key "([^"]*)"\): incompatible types: TOML value has type (\S+); destination has type (\S+)`)

// syntaxError puts file and line in front of what the TOML library says.
func (m *manifest) syntaxError(err error) error {
	if found := typeMistake.FindStringSubmatch(err.Error()); found != nil {
		line, key, got, want := found[1], found[2], found[3], found[4]
		want = strings.NewReplacer("string", "a string", "slice", "a list", "struct", "a table").Replace(want)
		return fmt.Errorf("%s:%s: %s: want %s, got a value of type %s", m.file, line, key, want, got)
	}
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return fmt.Errorf("%s: %s", m.file, strings.TrimPrefix(err.Error(), "toml: "))
	}
	msg := pe.Message
	if pe.LastKey != "" {
		msg = fmt.Sprintf("%s: %s", pe.LastKey, msg)
	}
	return fmt.Errorf("%s:%d: %s", m.file, pe.Position.Line, msg)
}

func (m *manifest) unknownKey(key toml.Key) error {
	table, name := "", key[0]
	if len(key) > 1 {
		table, name = key[0], strings.Join(key[1:], ".")
	}
	at := m.file
	if line := m.lines.first(table, name); line > 0 {
		at = fmt.Sprintf("%s:%d", m.file, line)
	}
	return fmt.Errorf("%s: unknown key %q (known: %s)", at, key.String(), knownKeys(table))
}

// knownKeys lists what may stand in a table, for somebody who mistyped it.
func knownKeys(table string) string {
	switch table {
	case "module":
		return "path, version, local"
	case "replacement":
		return "old, new"
	}
	return "caddy, output, tags, ldflags, version, [[module]], [[replacement]]"
}

// errorAt is an error about one key. The table is "" at the top; n counts the
// entries of [[table]] from 0.
func (m *manifest) errorAt(table string, n int, key, format string, args ...any) error {
	at := m.file
	if line := m.lines.find(table, n, key); line > 0 {
		at = fmt.Sprintf("%s:%d", m.file, line)
	}
	name := key
	if table != "" {
		name = fmt.Sprintf("[[%s]] %d: %s", table, n+1, key)
	}
	return fmt.Errorf("%s: %s: %s", at, name, fmt.Sprintf(format, args...))
}

// path makes a path of the manifest absolute.
func (m *manifest) path(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(m.dir, p)
}

package validate

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxSchemaFile bounds a schema or OpenAPI document, in bytes.
const maxSchemaFile = 16 << 20

// schemaLimits are for documents an operator wrote: generous, but strict about
// duplicate members, which hide half of a schema.
var schemaLimits = Limits{Depth: 512, Values: 4 << 20, Members: 1 << 20, Items: 1 << 20}

// loadSchema compiles the JSON Schema in a file, with format assertion on. The
// draft is the one "$schema" names, else 2020-12. "$ref" may point into other
// files, never to the network. An error names the file and the JSON pointer.
func loadSchema(file string) (*jsonschema.Schema, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("schema %q: %w", file, err)
	}
	c := newCompiler()
	s, err := c.Compile(fileURL(abs))
	if err != nil {
		return nil, fmt.Errorf("schema %q: %w", file, explainCompile(err))
	}
	return s, nil
}

func newCompiler() *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	registerTextFormats(c)
	c.UseLoader(jsonschema.SchemeURLLoader{"file": schemaFiles{}})
	return c
}

func fileURL(abs string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String()
}

// schemaFiles loads schema files with the strict reader.
type schemaFiles struct{}

func (schemaFiles) Load(fileURL string) (any, error) {
	name, err := jsonschema.FileLoader{}.ToFile(fileURL)
	if err != nil {
		return nil, err
	}
	data, err := readSmallFile(name)
	if err != nil {
		return nil, err
	}
	doc, err := parse(data, schemaLimits)
	var bad *malformed
	if errors.As(err, &bad) {
		return nil, bad.located()
	}
	return doc, err
}

func readSmallFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("is a directory")
	}
	if info.Size() > maxSchemaFile {
		return nil, fmt.Errorf("is larger than %d bytes", maxSchemaFile)
	}
	return os.ReadFile(name)
}

// located says for an operator where in the document the fault is.
func (m *malformed) located() error {
	if m.Field == "" {
		return errors.New(m.Message)
	}
	return fmt.Errorf("%s %s", m.Field, m.Message)
}

// explainCompile turns the library's compile errors into one line that says
// where in the document the fault is, as a JSON pointer (RFC 6901).
func explainCompile(err error) error {
	var invalid *jsonschema.SchemaValidationError
	var load *jsonschema.LoadURLError
	var regex *jsonschema.InvalidRegexError
	switch {
	case errors.As(err, &invalid):
		return explainInvalid(invalid)
	case errors.As(err, &load):
		return fmt.Errorf("loading %s: %w", strings.TrimPrefix(load.URL, "file://"), load.Err)
	case errors.As(err, &regex):
		return fmt.Errorf("at %s: %q is not a regular expression of RE2: %w",
			fragment(regex.URL), regex.Regex, regex.Err)
	}
	return err
}

func explainInvalid(invalid *jsonschema.SchemaValidationError) error {
	var verr *jsonschema.ValidationError
	if !errors.As(invalid.Err, &verr) {
		return invalid
	}
	base := fragment(invalid.URL)
	var lines []string
	for _, leaf := range leaves(verr) {
		lines = append(lines, fmt.Sprintf("at %s: %s",
			orRoot(base+pointer(leaf.InstanceLocation)), message(leaf.ErrorKind)))
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	return errors.New(strings.Join(lines[:min(3, len(lines))], "; "))
}

// leaves returns the errors that have no causes of their own. Those of a member's
// name do not say where it is.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if _, ofName := e.ErrorKind.(*kind.PropertyNames); ofName || len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, c := range e.Causes {
		all = append(all, leaves(c)...)
	}
	return all
}

func fragment(u string) string {
	_, frag, _ := strings.Cut(u, "#")
	if plain, err := url.PathUnescape(frag); err == nil {
		return plain
	}
	return frag
}

func orRoot(ptr string) string {
	if ptr == "" {
		return "the document's root"
	}
	return ptr
}

func pointer(tokens []string) string {
	var b strings.Builder
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(escape.Replace(t))
	}
	return b.String()
}

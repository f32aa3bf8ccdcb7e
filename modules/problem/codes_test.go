package problem

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/problem.md lists every code that a module of ours can give, and none that
// no module gives: clients and alerts rely on them. They are read from the
// source, so that a new one cannot be forgotten.
func TestCodes_AreAllOnThePage(t *testing.T) {
	emitted := map[string][]string{}
	folders, err := filepath.Glob("../*")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() || filepath.Base(folder) == "gateway" {
			continue // gateway defines Fail, and gives no code itself
		}
		for _, code := range parseSource(t, folder).codes(t) {
			emitted[code] = append(emitted[code], filepath.Base(folder))
		}
	}
	if len(emitted) < 10 {
		t.Fatalf("only %d codes found in the source: %v", len(emitted), emitted)
	}
	listed := codesOnPage(t)
	for _, code := range slices.Sorted(maps.Keys(emitted)) {
		if _, ok := listed[code]; !ok {
			t.Errorf("docs/problem.md does not list %q, from %v", code, emitted[code])
		}
	}
	for code, from := range listed {
		if emitted[code] == nil && !strings.Contains(from, "Caddy") {
			t.Errorf("docs/problem.md lists %q from %s, which gives no such code", code, from)
		}
	}
}

// codesOnPage reads the rows of the table of codes: what a code comes from, by
// code.
func codesOnPage(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/problem.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Codes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	codes := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [0-9]+ \\| ([^|]+) \\|$").FindAllStringSubmatch(section, -1) {
		codes[row[1]] = row[2]
	}
	return codes
}

// source is one package as it is written.
type source struct {
	fset  *token.FileSet
	funcs []*ast.FuncDecl
	files []*ast.File
}

func parseSource(t *testing.T, folder string) *source {
	t.Helper()
	s := &source{fset: token.NewFileSet()}
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(s.fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.files = append(s.files, file)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				s.funcs = append(s.funcs, f)
			}
		}
	}
	return s
}

// codes are the codes of all calls of gateway.Fail and caddyhttp.Error.
func (s *source) codes(t *testing.T) (codes []string) {
	t.Helper()
	for _, f := range s.funcs {
		for call := range nodes[*ast.CallExpr](f) {
			var words []string
			var err error
			switch dotted(call.Fun) {
			case "gateway.Fail":
				words, err = s.words(f, call.Args[2])
			case "caddyhttp.Error":
				words, err = s.phrase(call.Args[0])
			}
			if err != nil {
				t.Errorf("%s: cannot tell the code: %v", s.fset.Position(call.Pos()), err)
			}
			for _, w := range words {
				codes = append(codes, newProblem(500, w).Code)
			}
		}
	}
	return codes
}

// words are the texts that an expression in f may have.
func (s *source) words(f *ast.FuncDecl, e ast.Expr) ([]string, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		w, err := strconv.Unquote(e.Value)
		return []string{w}, err
	case *ast.IndexExpr: // of a table: each text in it
		return s.all(f, s.named(dotted(e.X)))
	case *ast.SelectorExpr: // a field: each text it is given anywhere
		return s.field(e.Sel.Name)
	case *ast.CompositeLit:
		var values []ast.Expr
		for pair := range nodes[*ast.KeyValueExpr](e) {
			values = append(values, pair.Value)
		}
		return s.all(f, values)
	case *ast.CallExpr:
		if dotted(e.Fun) == "http.StatusText" { // of a status that the config names
			return nil, nil
		}
	case *ast.Ident:
		if values := s.named(e.Name); len(values) > 0 {
			return s.all(f, values)
		}
		if i := parameter(f, e.Name); i >= 0 {
			return s.arguments(f.Name.Name, i)
		}
		return s.all(f, assigned(f, e.Name))
	}
	return nil, fmt.Errorf("%T is not understood", e)
}

func (s *source) all(f *ast.FuncDecl, list []ast.Expr) (words []string, err error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("no value found")
	}
	for _, e := range list {
		more, err := s.words(f, e)
		if err != nil {
			return nil, err
		}
		words = append(words, more...)
	}
	return words, nil
}

// named is the value of a constant or variable of the package.
func (s *source) named(name string) (values []ast.Expr) {
	for _, file := range s.files {
		for _, d := range file.Decls {
			for spec := range nodes[*ast.ValueSpec](d) {
				for i, n := range spec.Names {
					if _, inFunc := d.(*ast.FuncDecl); !inFunc && n.Name == name && i < len(spec.Values) {
						values = append(values, spec.Values[i])
					}
				}
			}
		}
	}
	return values
}

func (s *source) field(name string) (words []string, err error) {
	for _, f := range s.funcs {
		for pair := range nodes[*ast.KeyValueExpr](f) {
			if key, ok := pair.Key.(*ast.Ident); !ok || key.Name != name {
				continue
			}
			more, err := s.words(f, pair.Value)
			if err != nil {
				return nil, err
			}
			words = append(words, more...)
		}
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("field %s is given no text", name)
	}
	return words, nil
}

// arguments are the texts with which a function is called in one place.
func (s *source) arguments(function string, at int) (words []string, err error) {
	for _, f := range s.funcs {
		for call := range nodes[*ast.CallExpr](f) {
			name := dotted(call.Fun)
			if name[strings.LastIndex(name, ".")+1:] != function {
				continue
			}
			more, err := s.words(f, call.Args[at])
			if err != nil {
				return nil, err
			}
			words = append(words, more...)
		}
	}
	return words, nil
}

// statuses are those with which modules fail without words of their own.
var statuses = map[string]int{
	"http.StatusBadRequest": 400, "http.StatusRequestTimeout": 408, "http.StatusRequestEntityTooLarge": 413,
	"http.StatusInternalServerError": 500, "http.StatusBadGateway": 502, "http.StatusServiceUnavailable": 503,
}

// phrase is what problem says for a status alone.
func (s *source) phrase(status ast.Expr) ([]string, error) {
	n, ok := statuses[dotted(status)]
	for _, e := range s.named(dotted(status)) {
		if lit, isLit := e.(*ast.BasicLit); isLit {
			var err error
			n, err = strconv.Atoi(lit.Value)
			ok = err == nil
		}
	}
	if !ok {
		return nil, fmt.Errorf("status %s is not in this test's list", dotted(status))
	}
	return []string{sentence(phrase(n))}, nil
}

// nodes goes through all nodes of one kind below n.
func nodes[T ast.Node](n ast.Node) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for below := range ast.Preorder(n) {
			if found, ok := below.(T); ok && !yield(found) {
				return
			}
		}
	}
}

// dotted writes a name as the source does: http.StatusOK.
func dotted(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return dotted(e.X) + "." + e.Sel.Name
	}
	return ""
}

// parameter is the place of a parameter, -1 if f has none of that name.
func parameter(f *ast.FuncDecl, name string) int {
	i := 0
	for _, field := range f.Type.Params.List {
		for _, n := range field.Names {
			if n.Name == name {
				return i
			}
			i++
		}
	}
	return -1
}

// assigned is everything that a local variable is set to.
func assigned(f *ast.FuncDecl, name string) (values []ast.Expr) {
	for a := range nodes[*ast.AssignStmt](f) {
		for i, left := range a.Lhs {
			if dotted(left) == name && len(a.Lhs) == len(a.Rhs) {
				values = append(values, a.Rhs[i])
			}
		}
	}
	return values
}

func TestCodes_APhraseBecomesOne(t *testing.T) {
	for status, want := range map[int]string{404: "not_found", 413: "content_too_large", 409: "conflict", 499: "client_closed_request", 599: "server_failed"} {
		if got := newProblem(status, "").Code; got != want {
			t.Errorf("%d is %q, want %q", status, got, want)
		}
	}
}

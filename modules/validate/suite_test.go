package validate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// suiteGroup is how the JSON-Schema-Test-Suite writes its cases.
type suiteGroup struct {
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Tests       []struct {
		Description string          `json:"description"`
		Data        json.RawMessage `json:"data"`
		Valid       bool            `json:"valid"`
	} `json:"tests"`
}

// suiteDrafts are the drafts that $schema may name, by the suite's folders.
var suiteDrafts = map[string]*jsonschema.Draft{
	"draft4": jsonschema.Draft4, "draft6": jsonschema.Draft6, "draft7": jsonschema.Draft7,
	"draft2019-09": jsonschema.Draft2019, "draft2020-12": jsonschema.Draft2020,
}

// suiteRemotes loads what the suite's schemas refer to by a URL.
type suiteRemotes struct{ dir string }

func (s suiteRemotes) Load(url string) (any, error) {
	name, ok := strings.CutPrefix(url, "http://localhost:1234/")
	if !ok || s.dir == "" {
		return nil, fmt.Errorf("not of the suite: %q", url)
	}
	data, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	return parse(data, schemaLimits)
}

// suite runs cases and gathers what is not passed.
type suite struct {
	t         *testing.T
	remotes   string
	cases     int
	notPassed []string
}

func (s *suite) file(draft, file, label string) {
	s.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	var groups []suiteGroup
	if err := json.Unmarshal(data, &groups); err != nil {
		s.t.Fatalf("%s: %v", file, err)
	}
	for _, g := range groups {
		s.group(draft, label+": "+g.Description, g)
	}
}

func (s *suite) group(draft, label string, g suiteGroup) {
	s.cases += len(g.Tests)
	compiled, err := s.compile(draft, g.Schema)
	if err != nil {
		s.notPassed = append(s.notPassed, label+": the schema does not compile")
		return
	}
	r := newRuleBuilder().rule(compiled)
	for _, c := range g.Tests {
		doc, err := parse(c.Data, Limits{}.withDefaults())
		if err != nil {
			s.notPassed = append(s.notPassed, label+": "+c.Description+": the strict reader refuses it")
			continue
		}
		issues := r.check(doc)
		if (issues == nil) != c.Valid {
			s.notPassed = append(s.notPassed, label+": "+c.Description)
		}
		sameAsLibrary(s.t, label+": "+c.Description, compiled, doc, issues)
	}
}

func (s *suite) compile(draft string, schema json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := parse(schema, schemaLimits)
	if err != nil {
		return nil, err
	}
	c := newCompiler()
	c.DefaultDraft(suiteDrafts[draft])
	c.UseLoader(suiteRemotes{s.remotes})
	if err := c.AddResource("http://localhost/case.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("http://localhost/case.json")
}

// sameAsLibrary fails the test if the rules and the library, which they stand
// for, do not say the same.
func sameAsLibrary(t *testing.T, label string, s *jsonschema.Schema, doc any, issues []Issue) {
	t.Helper()
	want := libraryIssues(s, doc, nil)
	if want != nil {
		want = tidy(want, 0)
	}
	if !slices.Equal(issues, want) {
		t.Errorf("%s:\n rules   %q\n library %q", label, issues, want)
	}
}

// Every keyword has cases of our own, written as those of the official suite are.
func TestSuite_Keywords(t *testing.T) {
	files, err := filepath.Glob("testdata/suite/*/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files of cases: %v", len(files), err)
	}
	s := &suite{t: t}
	for _, file := range files {
		draft := filepath.Base(filepath.Dir(file))
		s.file(draft, file, draft+"/"+filepath.Base(file))
	}
	for _, name := range s.notPassed {
		t.Error(name)
	}
	t.Logf("%d cases", s.cases)
}

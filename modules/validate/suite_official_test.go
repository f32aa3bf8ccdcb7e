//go:build jsonschemasuite

package validate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSuite_Official runs the official JSON-Schema-Test-Suite
// (https://github.com/json-schema-org/JSON-Schema-Test-Suite), of which
// JSON_SCHEMA_TEST_SUITE names a copy:
//
//	go test -tags jsonschemasuite -run TestSuite_Official -v ./modules/validate
//
// Nothing of it fails but what testdata/suite/not-passed lists.
func TestSuite_Official(t *testing.T) {
	dir := os.Getenv("JSON_SCHEMA_TEST_SUITE")
	if dir == "" {
		t.Fatal("JSON_SCHEMA_TEST_SUITE names no copy of the suite")
	}
	s := &suite{t: t, remotes: filepath.Join(dir, "remotes")}
	for draft := range suiteDrafts {
		for _, part := range []string{"", "optional/format"} {
			files, err := filepath.Glob(filepath.Join(dir, "tests", draft, part, "*.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no files for %s: %v", draft, err)
			}
			for _, file := range files {
				s.file(draft, file, draft+"/"+filepath.Join(part, filepath.Base(file)))
			}
		}
	}
	slices.Sort(s.notPassed)
	text, err := os.ReadFile("testdata/suite/not-passed")
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, name := range s.notPassed {
		if !slices.Contains(known, name) {
			t.Errorf("not passed: %s", name)
		}
	}
	for _, name := range known {
		if !slices.Contains(s.notPassed, name) {
			t.Errorf("passed, but listed as not passed: %s", name)
		}
	}
	t.Logf("%d of %d cases passed", s.cases-len(s.notPassed), s.cases)
}

package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shownConfig is the first Caddyfile that a page of docs/ shows behind a text;
// behind "", it is the page's first.
func shownConfig(t *testing.T, page, behind string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, there := strings.Cut(string(text), behind)
	_, rest, found := strings.Cut(rest, "```caddyfile\n")
	config, _, closed := strings.Cut(rest, "```")
	if !there || !found || !closed {
		t.Fatalf("docs/%s shows no Caddyfile behind %q", page, behind)
	}
	return config
}

// replaced is text with each of the pairs replaced, which must be in it once.
func replaced(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if n := strings.Count(text, pairs[i]); n != 1 {
			t.Fatalf("%q is %d times in:\n%s", pairs[i], n, text)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

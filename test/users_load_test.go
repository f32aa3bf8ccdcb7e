package test

import (
	"os/exec"
	"strings"
	"testing"
)

// The load test works: `make load` runs it in full.
func TestUsersLoad_InShort(t *testing.T) {
	cmd := exec.Command("go", "run", "./test/load", "-short", "-fairway", fairway(t), "-users", users(t))
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{"audit: ", "503 with Retry-After, 0 errors"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the report lacks %q:\n%s", want, out)
		}
	}
	t.Logf("\n%s", out)
}

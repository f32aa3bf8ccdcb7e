package analytics

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func created(id string, at time.Time) Event {
	return Event{ID: "user.created-" + id, Type: "user.created", UserID: 1, Time: at}
}

func lines(t *testing.T, dir, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func TestFolder_EventIsThereOnce(t *testing.T) {
	dir := t.TempDir()
	f, err := NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []struct {
		Event
		again bool
	}{
		{created("1", noon), false},
		{created("1", noon), true},
		{created("10", noon), true}, // 1 is the beginning of 10
		{created("2", noon.In(time.FixedZone("", 13*3600))), true},
		{created("3", noon.Add(12*time.Hour)), true},
	} {
		if err := f.Add(a.Event, a.again); err != nil {
			t.Fatal(err)
		}
	}
	today := lines(t, dir, "2026-01-31.ndjson")
	want := `{"id":"user.created-1","type":"user.created","user_id":1,"time":"2026-01-31T12:00:00Z"}`
	if len(today) != 3 || today[0] != want {
		t.Errorf("the file holds %q, want 1, 10 and 2, the first as %s", today, want)
	}
	if tomorrow := lines(t, dir, "2026-02-01.ndjson"); len(tomorrow) != 1 {
		t.Errorf("the next day's file holds %q, want one event", tomorrow)
	}
}

// What a power cut broke does not swallow the event that comes after it.
func TestFolder_BrokenLine(t *testing.T) {
	dir := t.TempDir()
	f, err := NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "2026-01-31.ndjson"), []byte(`{"id":"user.created-1",`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Add(created("1", noon), true); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, dir, "2026-01-31.ndjson"); len(got) != 2 || !strings.HasSuffix(got[1], `Z"}`) {
		t.Errorf("the file holds %q, want the broken line and a whole one", got)
	}
}

func TestNewFolder_CannotBeMade(t *testing.T) {
	if _, err := NewFolder("/dev/null/x"); err == nil || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("NewFolder() = %v, want an error with the path", err)
	}
}

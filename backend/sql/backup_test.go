package sql

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBackup_IsADatabaseOfThatMoment(t *testing.T) {
	db := open(t, Config{Dir: t.TempDir()})
	u := createUser(t, db, "ada@example.com")
	dir := t.TempDir()
	file := filepath.Join(dir, "users.db")
	if err := db.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	createUser(t, db, "bob@example.com")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy is %v, %v, want it readable by its owner only", info.Mode(), err)
	}
	restored := open(t, Config{Dir: dir})
	if got, err := restored.User(t.Context(), u.ID); err != nil || got.Email != "ada@example.com" {
		t.Errorf("the copy has %+v, %v", got, err)
	}
	if last, err := restored.LastUserID(t.Context()); err != nil || last != u.ID {
		t.Errorf("the copy goes up to %d, %v, want %d", last, err, u.ID)
	}
	if err := db.Backup(t.Context(), file); err == nil {
		t.Error("a file that was there was overwritten")
	}
	if err := db.Backup(t.Context(), filepath.Join(dir, "no", "folder")); err == nil {
		t.Error("a folder that is not there was no error")
	}
}

package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// Backup writes a copy of a SQLite database, as of one moment, to a new file,
// while the service goes on. The copy holds signing keys: only its owner may read it.
func (db *DB) Backup(ctx context.Context, path string) error {
	e, ok := db.engine.(*sqliteEngine)
	if !ok {
		return errors.New("only SQLite is backed up here; PostgreSQL has pg_dump")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	if err := vacuumInto(ctx, e.path, path); err != nil {
		return errors.Join(fmt.Errorf("writing %q: %w", path, err), os.Remove(path))
	}
	return nil
}

// vacuumInto has a connection of its own, so that nobody waits for it.
func vacuumInto(ctx context.Context, from, to string) error {
	conn, err := sql.Open("sqlite", sqliteURI(from))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.ExecContext(ctx, `VACUUM INTO ?`, to)
	return err
}

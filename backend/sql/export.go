package sql

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

// ExportRow is what is exported of a user.
type ExportRow struct {
	ID        int64
	Email     string
	Name      string
	CreatedAt time.Time
}

func scanExport(r rows, e *ExportRow) error {
	var created int64
	err := r.Scan(&e.ID, &e.Email, &e.Name, &created)
	e.CreatedAt = fromMicros(created)
	return err
}

// ExportPage returns up to limit users created at since or later, the newest
// first, from below after, nil for the first page. It reads from the replica, if
// there is one.
func (db *DB) ExportPage(ctx context.Context, since time.Time, after *ExportRow, limit int) ([]ExportRow, error) {
	query, args := `SELECT id, email, name, created_at FROM users WHERE created_at >= $1`, []any{int64(0)}
	if !since.IsZero() {
		args[0] = micros(since)
	}
	if after != nil {
		query += ` AND (created_at, id) < ($2, $3)`
		args = append(args, micros(after.CreatedAt), after.ID)
	}
	args = append(args, limit)
	query += ` ORDER BY created_at DESC, id DESC LIMIT $` + strconv.Itoa(len(args))
	var page []ExportRow
	err := db.list(ctx, func(ctx context.Context, q querier) (err error) {
		page, err = all(ctx, q, scanExport, query, args...)
		return err
	})
	return page, err
}

// SeedRow is an invented user.
type SeedRow struct {
	backend.NewUser
	Bio       string // "" for no profile
	CreatedAt time.Time
}

// Seed stores invented users in one transaction. They get no mail, and all the
// same password.
func (db *DB) Seed(ctx context.Context, users []SeedRow, passwordHash string) error {
	if len(users) == 0 {
		return nil
	}
	return db.write(ctx, func(ctx context.Context, q querier) error {
		ids, err := seedUsers(ctx, q, users, passwordHash)
		if err != nil {
			return err
		}
		return seedProfiles(ctx, q, users, ids)
	})
}

// seedUsers returns the ids by address.
func seedUsers(ctx context.Context, q querier, users []SeedRow, hash string) (map[string]int64, error) {
	var args []any
	for i := range users {
		u := &users[i]
		at := micros(u.CreatedAt)
		args = append(args, u.Email, u.Name, u.Age, string(u.Role), string(u.Plan), hash, at, at)
	}
	type idRow struct {
		id    int64
		email string
	}
	found, err := all(ctx, q, func(r rows, v *idRow) error { return r.Scan(&v.id, &v.email) },
		`INSERT INTO users (email, name, age, role, plan, password_hash, created_at, updated_at) VALUES `+
			valueRows(len(users), 8)+` RETURNING id, email`, args...)
	ids := make(map[string]int64, len(found))
	for _, f := range found {
		ids[f.email] = f.id
	}
	return ids, err
}

func seedProfiles(ctx context.Context, q querier, users []SeedRow, ids map[string]int64) error {
	var args []any
	for i := range users {
		if users[i].Bio != "" {
			args = append(args, ids[users[i].Email], users[i].Bio)
		}
	}
	if len(args) == 0 {
		return nil
	}
	_, err := q.exec(ctx, `INSERT INTO profiles (user_id, bio) VALUES `+valueRows(len(args)/2, 2), args...)
	return err
}

// valueRows returns n rows of placeholders, "($1, $2), ($3, $4), …".
func valueRows(n, columns int) string {
	var b strings.Builder
	for row := range n {
		if row > 0 {
			b.WriteString(", ")
		}
		for col := range columns {
			if col > 0 {
				b.WriteString(", $")
			} else {
				b.WriteString("($")
			}
			b.WriteString(strconv.Itoa(row*columns + col + 1))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// LastUserID returns the highest id, 0 if there are no users.
func (db *DB) LastUserID(ctx context.Context) (int64, error) {
	var id int64
	err := db.read(ctx, func(ctx context.Context, q querier) (err error) {
		id, err = one(ctx, q, column[int64], `SELECT COALESCE(MAX(id), 0) FROM users`)
		return err
	})
	return id, err
}

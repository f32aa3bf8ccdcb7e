package sql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fairway-gateway/fairway/backend"
)

const userColumns = `id, email, name, age, role, plan, email_verified_at, version, created_at, updated_at`

func scanUser(r rows, u *backend.User) error {
	var verified *int64
	var created, updated int64
	err := r.Scan(&u.ID, &u.Email, &u.Name, &u.Age, &u.Role, &u.Plan, &verified, &u.Version, &created, &updated)
	u.EmailVerifiedAt = fromNullMicros(verified)
	u.CreatedAt, u.UpdatedAt = fromMicros(created), fromMicros(updated)
	return err
}

// CreateUser stores n, which is in its normal form, with the hash of its
// password, and tells the outbox. It fails with Conflict if the address is taken.
func (db *DB) CreateUser(ctx context.Context, n backend.NewUser, passwordHash string) (*backend.User, error) {
	var u backend.User
	err := db.writeTx(ctx, func(ctx context.Context, tx Tx) (err error) {
		u, err = db.createUser(ctx, tx, n, passwordHash)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &u, nil
}

// CreateUserOnce is CreateUser for a request that may come again. It returns the
// id of the user that was created now or before.
func (db *DB) CreateUserOnce(ctx context.Context, o Once, n backend.NewUser, passwordHash string) (id int64, replayed bool, err error) {
	err = db.writeTx(ctx, func(ctx context.Context, tx Tx) error {
		if err := db.claim(ctx, tx, o); err != nil {
			return err
		}
		u, err := db.createUser(ctx, tx, n, passwordHash)
		if err != nil {
			return err
		}
		id = u.ID
		return done(ctx, tx, o, id)
	})
	if errors.Is(err, errDone) {
		id, err = db.Done(ctx, o)
		return id, true, err
	}
	return id, false, err
}

func (db *DB) createUser(ctx context.Context, tx Tx, n backend.NewUser, passwordHash string) (backend.User, error) {
	u, err := db.insertUser(ctx, tx, n, passwordHash)
	if err != nil {
		return u, err
	}
	return u, db.tell(ctx, tx, backend.Event{Kind: backend.UserCreated, UserID: u.ID, At: u.CreatedAt})
}

func (db *DB) insertUser(ctx context.Context, q querier, n backend.NewUser, passwordHash string) (backend.User, error) {
	now := micros(db.now())
	u, err := one(ctx, q, scanUser,
		`INSERT INTO users (email, name, age, role, plan, password_hash, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING `+userColumns,
		n.Email, n.Name, n.Age, string(n.Role), string(n.Plan), passwordHash, now)
	if db.engine.isDuplicate(err) {
		return u, emailTaken(err)
	}
	return u, err
}

func emailTaken(cause error) error {
	return &backend.Error{
		Code: backend.Conflict, Message: "email is taken", Err: cause,
		Fields: []backend.FieldError{{Field: "email", Message: "is already registered"}},
	}
}

// User returns the user with the given id and its profile.
func (db *DB) User(ctx context.Context, id int64) (*backend.User, error) {
	var u *backend.User
	err := db.read(ctx, func(ctx context.Context, q querier) (err error) {
		u, err = userByID(ctx, q, id)
		return err
	})
	return u, err
}

func userByID(ctx context.Context, q querier, id int64) (*backend.User, error) {
	users, err := all(ctx, q, scanUser, `SELECT `+userColumns+` FROM users WHERE id = $1`, id)
	if err != nil {
		return nil, err
	}
	if len(users) == 0 {
		return nil, notFound("user")
	}
	if err := attachProfiles(ctx, q, users); err != nil {
		return nil, err
	}
	return &users[0], nil
}

// Users returns up to limit users that match f, newest first, with their
// profiles, in two queries. It begins below the id after; 0 means at the newest.
// It reads from the replica, if there is one.
func (db *DB) Users(ctx context.Context, f backend.UserFilter, after int64, limit int) ([]backend.User, error) {
	where, args := filterSQL(f, after)
	args = append(args, limit)
	query := `SELECT ` + userColumns + ` FROM users` + where + ` ORDER BY id DESC LIMIT $` + strconv.Itoa(len(args))
	var users []backend.User
	err := db.list(ctx, func(ctx context.Context, q querier) (err error) {
		if users, err = all(ctx, q, scanUser, query, args...); err != nil {
			return err
		}
		return attachProfiles(ctx, q, users)
	})
	return users, err
}

// filterSQL writes only the conditions that are asked for, so that the database
// plans each kind of list for itself.
func filterSQL(f backend.UserFilter, after int64) (where string, args []any) {
	var conds []string
	add := func(cond string, arg any) {
		args = append(args, arg)
		conds = append(conds, fmt.Sprintf(cond, len(args)))
	}
	if after > 0 {
		add("id < $%d", after)
	}
	if f.Role != "" {
		add("role = $%d", string(f.Role))
	}
	if f.Plan != "" {
		add("plan = $%d", string(f.Plan))
	}
	if f.Email != "" {
		add("email = $%d", f.Email)
	}
	if f.Name != "" {
		add(`LOWER(name) LIKE LOWER($%d) ESCAPE '\'`, likePrefix(f.Name))
	}
	if len(conds) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(conds, " AND "), args
}

// likePrefix returns the pattern for everything that begins with s.
func likePrefix(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s) + "%"
}

type profileRow struct {
	userID int64
	backend.Profile
}

func scanProfile(r rows, p *profileRow) error {
	return r.Scan(&p.userID, &p.Bio, &p.Location, &p.Website, &p.AvatarURL)
}

// attachProfiles reads the profiles of all users in one query.
func attachProfiles(ctx context.Context, q querier, users []backend.User) error {
	if len(users) == 0 {
		return nil
	}
	at := make(map[int64]*backend.User, len(users))
	ids := make([]any, len(users))
	for i := range users {
		at[users[i].ID] = &users[i]
		ids[i] = users[i].ID
	}
	found, err := all(ctx, q, scanProfile,
		`SELECT user_id, bio, location, website, avatar_url FROM profiles WHERE user_id IN (`+placeholders(len(ids))+`)`, ids...)
	if err != nil {
		return err
	}
	for _, p := range found {
		at[p.userID].Profile = p.Profile
	}
	return nil
}

// placeholders returns "$1, $2, …" up to n.
func placeholders(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		if i > 1 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(i))
	}
	return b.String()
}

// UpdateUser makes the changes of p, which is in its normal form. With a version
// other than 0 it fails with PreconditionFailed unless the user still has that
// version; without, changes by others before it are kept. A changed role ends the
// user's access tokens, which say the old one; a refresh gets new ones.
func (db *DB) UpdateUser(ctx context.Context, id, version int64, p backend.Patch) (*backend.User, error) {
	var u *backend.User
	err := db.writeTx(ctx, func(ctx context.Context, tx Tx) (err error) {
		u, err = db.patchUser(ctx, tx, id, version, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// lockUser keeps others from changing a user until the transaction ends. It fails
// with PreconditionFailed unless the user has the version, 0 for any.
func (db *DB) lockUser(ctx context.Context, tx Tx, id, version int64) error {
	have, err := one(ctx, tx, column[int64], `SELECT version FROM users WHERE id = $1`+db.engine.forUpdate(), id)
	switch {
	case errors.Is(err, errNoRow):
		return notFound("user")
	case err == nil && version != 0 && version != have:
		return backend.Fail(backend.PreconditionFailed, "the user has another version")
	}
	return err
}

func (db *DB) patchUser(ctx context.Context, tx Tx, id, version int64, p backend.Patch) (*backend.User, error) {
	if err := db.lockUser(ctx, tx, id, version); err != nil {
		return nil, err
	}
	u, err := userByID(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	role := u.Role
	p.Apply(u)
	u.Version, u.UpdatedAt = u.Version+1, fromMicros(micros(db.now()))
	_, err = tx.exec(ctx,
		`UPDATE users SET email = $1, name = $2, age = $3, role = $4, plan = $5, email_verified_at = $6, version = $7, updated_at = $8
		WHERE id = $9`,
		u.Email, u.Name, u.Age, string(u.Role), string(u.Plan), nullMicros(u.EmailVerifiedAt), u.Version, micros(u.UpdatedAt), id)
	switch {
	case db.engine.isDuplicate(err):
		return nil, emailTaken(err)
	case err != nil:
		return nil, err
	}
	if u.Role != role {
		if err := db.revokeTokens(ctx, tx, id); err != nil {
			return nil, err
		}
	}
	return u, saveProfile(ctx, tx, id, u.Profile)
}

func saveProfile(ctx context.Context, q querier, id int64, p backend.Profile) error {
	if p == (backend.Profile{}) {
		_, err := q.exec(ctx, `DELETE FROM profiles WHERE user_id = $1`, id)
		return err
	}
	_, err := q.exec(ctx,
		`INSERT INTO profiles (user_id, bio, location, website, avatar_url) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (user_id) DO UPDATE SET bio = $2, location = $3, website = $4, avatar_url = $5`,
		id, p.Bio, p.Location, p.Website, p.AvatarURL)
	return err
}

// DeleteUser removes a user with everything that belongs to it. A version other
// than 0 has to match, as in UpdateUser.
func (db *DB) DeleteUser(ctx context.Context, id, version int64) error {
	return db.writeTx(ctx, func(ctx context.Context, tx Tx) error {
		if err := db.lockUser(ctx, tx, id, version); err != nil {
			return err
		}
		if err := db.revokeTokens(ctx, tx, id); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `DELETE FROM users WHERE id = $1`, id)
		return err
	})
}

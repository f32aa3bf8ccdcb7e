-- +goose Up
-- Times are microseconds since 1970 in UTC, so that both databases sort and
-- compare them alike.
CREATE TABLE users (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	email TEXT NOT NULL UNIQUE,
	name TEXT NOT NULL,
	age INTEGER,
	role TEXT NOT NULL,
	plan TEXT NOT NULL,
	password_hash TEXT NOT NULL,
	email_verified_at INTEGER,
	tokens_revoked_at INTEGER NOT NULL DEFAULT 0,
	version INTEGER NOT NULL DEFAULT 1,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX users_by_creation ON users (created_at, id);

CREATE TABLE profiles (
	user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
	bio TEXT,
	location TEXT,
	website TEXT,
	avatar_url TEXT
) STRICT;

CREATE TABLE sessions (
	id TEXT PRIMARY KEY,
	user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	user_agent TEXT NOT NULL,
	ip TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	last_used_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	revoked_at INTEGER
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE refresh_tokens (
	hash BLOB PRIMARY KEY,
	session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	used_at INTEGER
) STRICT;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

CREATE TABLE signing_keys (
	id TEXT PRIMARY KEY,
	state TEXT NOT NULL,
	private BLOB NOT NULL,
	created_at INTEGER NOT NULL,
	changed_at INTEGER NOT NULL
) STRICT;
-- At most one key signs and at most one waits, whatever two instances do at once.
CREATE UNIQUE INDEX signing_keys_current ON signing_keys (state) WHERE state IN ('next', 'active');

-- +goose Down
DROP TABLE signing_keys;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE profiles;
DROP TABLE users;

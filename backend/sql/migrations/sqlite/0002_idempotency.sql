-- +goose Up
-- A creation that its client may send again. The key is a hash, and the
-- fingerprint covers no password.
CREATE TABLE idempotency_keys (
	key BLOB PRIMARY KEY,
	fingerprint BLOB NOT NULL,
	user_id INTEGER,
	expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- +goose Down
DROP TABLE idempotency_keys;

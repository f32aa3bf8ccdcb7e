-- +goose Up
-- A creation that its client may send again. The key is a hash, and the
-- fingerprint covers no password.
CREATE TABLE idempotency_keys (
	key BYTEA PRIMARY KEY,
	fingerprint BYTEA NOT NULL,
	user_id BIGINT,
	expires_at BIGINT NOT NULL
);
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- +goose Down
DROP TABLE idempotency_keys;

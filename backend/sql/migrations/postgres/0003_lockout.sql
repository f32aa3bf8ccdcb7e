-- +goose Up
-- Logins that were begun and have not succeeded, by hashes of who was named and
-- where they came from.
CREATE TABLE login_failures (
	key BYTEA PRIMARY KEY,
	failures BIGINT NOT NULL,
	since BIGINT NOT NULL
);
CREATE INDEX login_failures_by_time ON login_failures (since);

-- +goose Down
DROP TABLE login_failures;

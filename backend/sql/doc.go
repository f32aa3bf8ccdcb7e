// Package sql is the store of the user service: one set of hand-written SQL that
// runs unchanged on SQLite and on PostgreSQL.
//
// Queries number their parameters ($1, $2, …) and use what both databases have:
// RETURNING, ON CONFLICT, partial indexes. Only the table definitions exist
// twice, under migrations/. What differs in the driving of the two databases is
// behind the engine interface, in sqlite.go and postgres.go.
//
// SQLite runs in WAL mode with one connection that writes and several that can
// only read. PostgreSQL has a pool.
package sql

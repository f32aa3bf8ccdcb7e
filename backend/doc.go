// Package backend is the domain of Fairway's user service: users and their
// profiles, sessions, and the rules for what a valid one looks like. It knows
// no database and no HTTP.
//
// Around it, each in its own package and with arrows that point only inwards:
//
//	auth   passwords, signing keys, access and refresh tokens
//	sql    the store, on SQLite and on PostgreSQL
//	http   the API, its OpenAPI document and its errors
//
// cmd/users puts them together.
package backend

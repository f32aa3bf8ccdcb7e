// Package auth says who is calling the user service: it hashes passwords, keeps
// the keys that sign access tokens, and turns logins into tokens.
//
// An access token is a JWT signed with ES256 that lives 15 minutes. A refresh
// token is 256 random bits; the store knows only its hash. Each use exchanges it
// for the next one, and a second use of the same one, a sign of theft, revokes
// the whole session.
package auth

// Package jwtauth says who is calling. It verifies JSON Web Tokens (RFC 7519)
// as RFC 8725 recommends, and refuses whatever is not beyond doubt.
//
//	jwt_auth /api/* {
//		issuer https://idp.example {
//			discovery
//			algorithms RS256
//			audience my-api
//		}
//		header X-User-ID sub
//	}
//
// It registers three things: the handler http.handlers.jwt_auth with its
// Caddyfile directive, the provider http.authentication.providers.jwt for use
// beside basic_auth, and the directive jwtauth for configs written for
// ggicci/caddy-jwt.
//
// The core is plain Go without a server: Guard decides about a request, Verifier
// about a token; keySet holds an issuer's keys and refresher renews them in the
// background; tokenCache remembers verified tokens; revocations knows which were
// taken back. Around it stand the config, the handler and the stores.
//
// It does not issue tokens, does not log users in, does not decrypt (JWE), and
// does not check that the sender is the one the token was given to (DPoP, mutual
// TLS).
package jwtauth

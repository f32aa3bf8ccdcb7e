package gateway

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// Names of request variables (caddyhttp.SetVar) through which modules tell each
// other what they found, without importing each other.
const (
	// VarError holds the stable code (string) of a refusal made by Fail.
	VarError = "fairway.error"

	// VarDetails holds the []Detail of a refusal made by Fail.
	VarDetails = "fairway.details"

	// VarIdentity holds the *Identity of an authenticated request.
	VarIdentity = "fairway.identity"

	// VarCacheStatus holds the outcome (string) of the response cache.
	VarCacheStatus = "fairway.cache_status"

	// VarStale holds the StaleFunc of a request for which the cache has an
	// expired response.
	VarStale = "fairway.stale"

	// VarZone holds the name (string) of the rate-limit zone that refused.
	VarZone = "fairway.rate_limit_zone"

	// VarAttempts holds the number (int) of tries made on upstreams.
	VarAttempts = "fairway.upstream_attempts"

	// VarBreaker holds the state (string) of the breaker that was asked last.
	VarBreaker = "fairway.breaker"
)

// Identity says who sent a request. It is shared and must not be altered.
type Identity struct {
	// Issuer of the credentials; empty if they have none.
	Issuer string

	// Subject is the user's id, unique only together with the issuer.
	Subject string

	// QueryParam is the query parameter that held the credentials, empty if
	// they were elsewhere. It must never become part of a key or a log line.
	QueryParam string
}

// StaleFunc answers a request with an expired response that the cache has
// stored. It returns false, having written nothing, if that is not allowed.
type StaleFunc func(w http.ResponseWriter, r *http.Request) bool

// Detail is one thing that is wrong with a request.
type Detail struct {
	// Field is the path of the offending value, such as "items[2].price".
	Field string `json:"field"`

	// Message says what is wrong with it, for people.
	Message string `json:"message"`
}

// Fail refuses a request: it leaves the stable code and the details for the
// `problem` handler and returns the error for Caddy's error routes. The text of
// err is logged, never sent.
func Fail(r *http.Request, status int, code string, details []Detail, err error) error {
	caddyhttp.SetVar(r.Context(), VarError, code)
	if len(details) > 0 {
		caddyhttp.SetVar(r.Context(), VarDetails, details)
	}
	return caddyhttp.Error(status, err)
}

// LogField adds a field to the access-log entry of the request, replacing one
// of the same key. A server without an access log has nothing to add it to.
func LogField(r *http.Request, field zap.Field) {
	if s, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && s.Logs == nil {
		return
	}
	extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if ok {
		extra.Set(field)
	}
}

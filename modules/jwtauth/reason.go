package jwtauth

import "net/http"

// Reason says how a decision came about. It is a closed set: it labels metrics,
// picks the status and the challenge, and tells the log why.
type Reason uint8

// The reasons, in the order in which they are looked for.
const (
	ReasonOK          Reason = iota
	ReasonAnonymous          // no token, and none needed
	ReasonMissing            // no token
	ReasonAmbiguous          // more than one token
	ReasonMalformed          // not a token, too large, or a header that is not implemented
	ReasonIssuer             // an issuer that is not configured
	ReasonType               // a token made for something else
	ReasonUnavailable        // no key set was ever fetched, or it is too old
	ReasonAlgorithm          // an algorithm that is not on the issuer's list
	ReasonKey                // no key that fits kid and algorithm
	ReasonSignature          // the signature is wrong
	ReasonClaims             // a claim of the wrong type, or exp or the user missing
	ReasonAudience           // meant for someone else
	ReasonExpired            // exp has passed
	ReasonNotYet             // nbf or iat lies in the future
	ReasonLifetime           // lives longer than max_lifetime
	ReasonRevoked            // this token, or all of its subject up to a time
	ReasonUnknown            // revocations were never read, and on_error is deny
	ReasonRequire            // a required claim is missing
	ReasonScope              // scopes do not suffice
	ReasonClaim              // a claim does not have one of the values asked for
	numReasons
)

// reasonTexts holds per reason its name in metrics and logs, the status of the
// answer (0: the request passes), the error code of RFC 6750, 3.1, and what the
// client is told.
var reasonTexts = [numReasons]struct {
	name        string
	status      int
	code        string
	description string
}{
	ReasonOK:          {"ok", 0, "", ""},
	ReasonAnonymous:   {"anonymous", 0, "", ""},
	ReasonMissing:     {"missing", http.StatusUnauthorized, "", ""},
	ReasonAmbiguous:   {"ambiguous", http.StatusBadRequest, "invalid_request", "more than one token was sent"},
	ReasonMalformed:   {"malformed", http.StatusUnauthorized, "invalid_token", "the token is malformed"},
	ReasonIssuer:      {"issuer", http.StatusUnauthorized, "invalid_token", "the issuer is not accepted"},
	ReasonType:        {"type", http.StatusUnauthorized, "invalid_token", "the type of the token is not accepted"},
	ReasonUnavailable: {"unavailable", http.StatusServiceUnavailable, "", ""},
	ReasonAlgorithm:   {"algorithm", http.StatusUnauthorized, "invalid_token", "the algorithm is not accepted"},
	ReasonKey:         {"key", http.StatusUnauthorized, "invalid_token", "the signing key is unknown"},
	ReasonSignature:   {"signature", http.StatusUnauthorized, "invalid_token", "the signature is invalid"},
	ReasonClaims:      {"claims", http.StatusUnauthorized, "invalid_token", "a claim is missing or malformed"},
	ReasonAudience:    {"audience", http.StatusUnauthorized, "invalid_token", "the token is meant for another audience"},
	ReasonExpired:     {"expired", http.StatusUnauthorized, "invalid_token", "the token has expired"},
	ReasonNotYet:      {"not_yet", http.StatusUnauthorized, "invalid_token", "the token is not valid yet"},
	ReasonLifetime:    {"lifetime", http.StatusUnauthorized, "invalid_token", "the token lives too long"},
	ReasonRevoked:     {"revoked", http.StatusUnauthorized, "invalid_token", "the token was revoked"},
	ReasonUnknown:     {"revocation_unknown", http.StatusServiceUnavailable, "", ""},
	ReasonRequire:     {"require", http.StatusForbidden, "insufficient_scope", "a required claim is missing"},
	ReasonScope:       {"scope", http.StatusForbidden, "insufficient_scope", "the scopes of the token do not suffice"},
	ReasonClaim:       {"claim", http.StatusForbidden, "insufficient_scope", "the claims of the token do not suffice"},
}

// String is the name used in metrics and logs.
func (r Reason) String() string { return reasonTexts[r].name }

// Status is the status of the answer, or 0 if the request passes.
func (r Reason) Status() int { return reasonTexts[r].status }

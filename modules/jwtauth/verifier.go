package jwtauth

import (
	"errors"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer is one party whose tokens are accepted, with its own keys and rules.
type issuer struct {
	name      string // the exact value of iss
	allowed   allowlist
	audiences []string // nil: any
	typ       string   // normalised; "": see tokenHeader.accepts
	keys      *keySet
	parser    *jwt.Parser
}

func newIssuer(name string, allowed allowlist, audiences []string, typ string, keys *keySet) *issuer {
	return &issuer{
		name: name, allowed: allowed, audiences: audiences, typ: normalType(typ), keys: keys,
		parser: jwt.NewParser(
			jwt.WithValidMethods(allowed.names()),
			jwt.WithStrictDecoding(),
			jwt.WithoutClaimsValidation(), // all checks of claims are in Verifier
		),
	}
}

// Verifier decides whether a token is genuine and still good. It is plain Go:
// no request, no server. It is safe for concurrent use.
type Verifier struct {
	issuers     []*issuer
	leeway      instant
	maxLifetime instant // 0: unlimited
	userClaims  []string
	revocations *revocations
	mustKnow    bool // refuse while revocations were never read
	cache       *tokenCache
}

// Verdict is what Verify found out about a token.
type Verdict struct {
	Reason Reason

	// Issuer is the index of the configured issuer that the token names, or -1.
	Issuer int

	// Caller is set if the token's signature is genuine, whether or not it is
	// accepted.
	Caller *Caller

	// Cached says that the signature was verified earlier.
	Cached bool

	// Retry, if not nil, is closed when the key set of the issuer was fetched
	// again. The verdict may then be different.
	Retry <-chan struct{}
}

// Verify checks a token in this order: shape and size, issuer, type, algorithm,
// key, signature, claims, time, revocation.
func (v *Verifier) Verify(token string, now time.Time) Verdict {
	at := instantOf(now)
	if len(token) > maxTokenSize {
		return Verdict{Reason: ReasonMalformed, Issuer: -1}
	}
	hash := keyOf(token)
	if e, found := v.cache.get(&hash); found && v.stillSigned(&hash, &e, at) {
		return v.again(&hash, e.record, at)
	}
	return v.first(&hash, token, at)
}

// stillSigned reports whether the key that verified a cached token is still in
// its issuer's key set.
func (v *Verifier) stillSigned(hash *tokenKey, e *cachedToken, now instant) bool {
	set := v.issuers[e.record.issuer()].keys.usable(now)
	if set == nil {
		return false
	}
	if e.generation == set.generation {
		return true
	}
	if !set.holds(e.signer) {
		return false
	}
	v.cache.renew(hash, set.generation)
	return true
}

// again checks what may have changed since a token was verified.
func (v *Verifier) again(hash *tokenKey, r record, now instant) Verdict {
	caller := v.unpack(r)
	reason := v.standing(caller, now)
	if reason == ReasonExpired {
		v.cache.yield(hash)
	}
	return Verdict{Reason: reason, Issuer: r.issuer(), Caller: caller, Cached: true}
}

func (v *Verifier) unpack(r record) *Caller {
	return r.caller(v.issuers[r.issuer()].name, v.userClaims)
}

// standing checks time and revocation.
func (v *Verifier) standing(c *Caller, now instant) Reason {
	if reason := c.timeReason(now, v.leeway, v.maxLifetime); reason != ReasonOK {
		return reason
	}
	switch {
	case v.revocations.revoked(c):
		return ReasonRevoked
	case v.mustKnow && !v.revocations.known.Load():
		return ReasonUnknown
	}
	return ReasonOK
}

// first verifies a token that is not in the cache.
func (v *Verifier) first(hash *tokenKey, token string, now instant) Verdict {
	verdict := Verdict{Issuer: -1}
	raw, reason := parseToken(token)
	if reason != ReasonOK {
		verdict.Reason = reason
		return verdict
	}
	verdict.Issuer = v.issuerOf(raw)
	if verdict.Issuer < 0 {
		verdict.Reason = ReasonIssuer
		return verdict
	}
	is := v.issuers[verdict.Issuer]
	signer, generation, reason, retry := is.authenticate(raw, now)
	if reason != ReasonOK {
		verdict.Reason, verdict.Retry = reason, retry
		return verdict
	}
	r, reason := v.read(raw, verdict.Issuer)
	if reason != ReasonOK {
		verdict.Reason = reason
		return verdict
	}
	verdict.Caller = v.unpack(r)
	if verdict.Reason = v.standing(verdict.Caller, now); verdict.Reason == ReasonOK {
		v.cache.put(hash, cachedToken{record: r, signer: signer, generation: generation})
	}
	return verdict
}

// issuerOf finds the issuer by the exact, still unverified iss: it only chooses
// whose keys are tried (RFC 8725, 3.8).
func (v *Verifier) issuerOf(raw *rawToken) int {
	name, ok := raw.claims["iss"].(string)
	if !ok {
		return -1
	}
	return slices.IndexFunc(v.issuers, func(is *issuer) bool { return is.name == name })
}

// authenticate checks type, algorithm, key and signature and returns the key
// that signed.
func (is *issuer) authenticate(raw *rawToken, now instant) (signer *key, generation uint64, reason Reason, retry <-chan struct{}) {
	if !raw.header.accepts(is.typ) {
		return nil, 0, ReasonType, nil
	}
	alg := is.allowed.find(raw.header.alg)
	if alg == nil {
		return nil, 0, ReasonAlgorithm, nil
	}
	set := is.keys.usable(now)
	if set == nil {
		return nil, 0, ReasonUnavailable, is.keys.await()
	}
	candidates := set.candidates(&raw.header, alg)
	if len(candidates) == 0 {
		return nil, 0, ReasonKey, is.keys.await()
	}
	signer = is.findSigner(raw, alg, candidates)
	switch {
	case signer != nil:
		return signer, set.generation, ReasonOK, nil
	case raw.header.namesOneOf(candidates):
		return nil, 0, ReasonSignature, nil
	}
	// Nothing tells a forgery from a token of a key that is not fetched yet.
	return nil, 0, ReasonSignature, is.keys.await()
}

// findSigner has golang-jwt check the signature with one key after the other.
func (is *issuer) findSigner(raw *rawToken, alg *algorithm, candidates []*key) *key {
	for _, k := range candidates {
		_, err := is.parser.ParseWithClaims(raw.text, new(unvalidated), func(t *jwt.Token) (any, error) {
			if t.Method.Alg() != alg.name {
				return nil, errAlgorithm
			}
			t.Method = alg.method // ours for PSS, see exactSalt
			return k.material, nil
		})
		if err == nil {
			return k
		}
	}
	return nil
}

var errAlgorithm = errors.New("two readings of the algorithm")

// read decodes verified claims and checks those that do not depend on time.
func (v *Verifier) read(raw *rawToken, issuer int) (record, Reason) {
	is := v.issuers[issuer]
	claims, err := decodeClaims(raw.claims)
	if err != nil || claims.Expires == 0 || claims.Issuer != is.name {
		return "", ReasonClaims
	}
	if is.audiences != nil && !claims.Audience.meantFor(is.audiences) {
		return "", ReasonAudience
	}
	r := newRecord(issuer, claims, raw.claims)
	if userID(r.claims(), v.userClaims) == "" {
		return "", ReasonClaims
	}
	return r, ReasonOK
}

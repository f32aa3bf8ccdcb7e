package jwtauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// partKind is the kind of all parts of this package in the admin API.
const partKind = "jwt_auth"

// issuerPart shows an issuer: its keys and the cache of verified tokens.
type issuerPart struct {
	issuer *issuer
	source string
	cache  *pooledCache
}

// Kind is "jwt_auth".
func (*issuerPart) Kind() string { return partKind }

// Name is the issuer, with its key source if that is not its own.
func (p *issuerPart) Name() string { return p.issuer.name + " (" + p.source + ")" }

// issuerState is the snapshot of an issuer.
type issuerState struct {
	Issuer     string      `json:"issuer"`
	Algorithms []string    `json:"algorithms"`
	Ready      bool        `json:"ready"`
	KeySet     keySetState `json:"key_set"`
	Cache      cacheState  `json:"cache"`
}

type cacheState struct {
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"`
	Limit   int64 `json:"limit"`
}

// Snapshot holds no key material, only fingerprints.
func (p *issuerPart) Snapshot() any {
	entries, bytes := p.cache.usage()
	st := issuerState{
		Issuer:     p.issuer.name,
		Algorithms: p.issuer.allowed.names(),
		Ready:      p.issuer.keys.usable(instantOf(time.Now())) != nil,
		KeySet:     p.issuer.keys.state(),
		Cache:      cacheState{Entries: entries, Bytes: bytes},
	}
	if p.cache.tokenCache != nil {
		st.Cache.Limit = p.cache.limit * cacheShards
	}
	return st
}

// Check implements gateway.Checker: without a key no token can be verified.
func (p *issuerPart) Check() error {
	if p.issuer.keys.usable(instantOf(time.Now())) == nil {
		return errors.New("there is no key set yet")
	}
	return nil
}

// describeSource says in a word or a URL where the keys come from.
func (ic *IssuerConfig) describeSource() string {
	switch {
	case ic.Key != "":
		return "inline"
	case ic.JWKSFile != "":
		return ic.JWKSFile
	case ic.JWKSURL != "":
		return withoutQuery(ic.JWKSURL)
	default:
		return withoutQuery(ic.metadataURL())
	}
}

// revocationsPart shows how much is revoked, and revokes.
type revocationsPart struct {
	store *revocationStore
	app   *gateway.App
}

func (e *engine) newRevocationsPart(app *gateway.App) *revocationsPart {
	return &revocationsPart{store: e.store, app: app}
}

// Kind is "jwt_auth".
func (*revocationsPart) Kind() string { return partKind }

// Name is "revocations".
func (*revocationsPart) Name() string { return "revocations" }

// Snapshot tells numbers only: ids of users and tokens are nobody's business.
func (p *revocationsPart) Snapshot() any {
	tokens, subjects := p.store.sizes()
	return map[string]any{
		"tokens":   tokens,
		"subjects": subjects,
		"known":    p.store.known.Load(),
		"redis":    p.store.redis != nil,
	}
}

// revokeArgs are the arguments of the action revoke. Numbers may be strings.
type revokeArgs struct {
	Issuer    string      `json:"iss"`
	TokenID   string      `json:"jti"`
	Expires   json.Number `json:"exp"`
	Subject   string      `json:"sub"`
	NotBefore json.Number `json:"not_before"`
	Until     json.Number `json:"until"`

	// Token is a token to be revoked by its own iss, jti and exp.
	Token string `json:"token"`
}

// defaultRetention is how long a revocation is kept if nobody says when the
// tokens concerned end.
const defaultRetention = 30 * 24 * time.Hour

// Act carries out revoke.
func (p *revocationsPart) Act(ctx context.Context, action string, args json.RawMessage) (any, error) {
	if action != "revoke" {
		return nil, gateway.ErrUnknownAction
	}
	var a revokeArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, gateway.BadArgument("the arguments are not a JSON object of strings and numbers: %v", err)
	}
	rev, err := a.revocation(time.Now(), p.issuerNames())
	if err != nil {
		return nil, gateway.BadArgument("%v", err)
	}
	shared, err := p.store.revoke(ctx, rev)
	if err != nil {
		return nil, err
	}
	kind := "jti"
	if rev.jti == "" {
		kind = "sub"
	}
	return map[string]any{"revoked": kind, "until": rev.until, "redis": shared}, nil
}

// issuerNames are all issuers of the config.
func (p *revocationsPart) issuerNames() []string {
	seen := map[string]bool{}
	var names []string
	for _, part := range p.app.Parts() {
		if ip, ok := part.(*issuerPart); ok && !seen[ip.issuer.name] {
			seen[ip.issuer.name] = true
			names = append(names, ip.issuer.name)
		}
	}
	return names
}

func (a *revokeArgs) revocation(now time.Time, issuers []string) (revocation, error) {
	if a.Token != "" {
		if err := a.readToken(); err != nil {
			return revocation{}, err
		}
	}
	if a.Issuer == "" && len(issuers) == 1 {
		a.Issuer = issuers[0]
	}
	if a.Issuer != "" && !slices.Contains(issuers, a.Issuer) {
		return revocation{}, fmt.Errorf("iss %q is no issuer of this gateway; it knows %q", a.Issuer, issuers)
	}
	rev := revocation{issuer: a.Issuer, jti: a.TokenID, sub: a.Subject}
	var err error
	if rev.before, err = seconds("not_before", a.NotBefore, now.Unix()); err != nil {
		return rev, err
	}
	end := a.Until
	if end == "" {
		end = a.Expires
	}
	if rev.until, err = seconds("until", end, now.Add(defaultRetention).Unix()); err != nil {
		return rev, err
	}
	return rev, rev.check(now)
}

// readToken takes the particulars out of a token. Its signature does not
// matter: the operator may revoke anything.
func (a *revokeArgs) readToken() error {
	raw, reason := parseToken(strings.TrimSpace(a.Token))
	if reason != ReasonOK {
		return errors.New("token is not a token")
	}
	claims, err := decodeClaims(raw.claims)
	if err != nil || claims.ID == "" {
		return errors.New("the token has no jti; revoke its subject instead")
	}
	a.Issuer, a.TokenID, a.Subject = claims.Issuer, claims.ID, ""
	a.Expires = json.Number(strconv.FormatInt(int64(claims.Expires)/1000+1, 10))
	return nil
}

func seconds(name string, v json.Number, fallback int64) (int64, error) {
	if v == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(v.String(), 10, 64)
	if err != nil || n < 0 || n > int64(latest)/1000 {
		return 0, errors.New(name + " " + strconv.Quote(v.String()) + " is not a time in Unix seconds")
	}
	return n, nil
}

var (
	_ gateway.Part  = (*issuerPart)(nil)
	_ gateway.Actor = (*revocationsPart)(nil)
)

package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// AccessLife is how long an access token is good for.
const AccessLife = 15 * time.Minute

// clockSkew is how far the clocks of two instances may differ.
const clockSkew = 5 * time.Second

// claims is what an access token says (RFC 9068, less its client_id).
type claims struct {
	jwt.RegisteredClaims
	Scope string       `json:"scope"`
	Role  backend.Role `json:"role"`
	Plan  backend.Plan `json:"plan"`
}

// scopes says what each role's tokens are good for at the gateway.
var scopes = map[backend.Role]string{
	backend.RoleUser:  "users:read users:write",
	backend.RoleAdmin: "users:read users:write users:admin",
}

// Scope returns what the tokens of a role are good for, space-separated.
func Scope(r backend.Role) string { return scopes[r] }

// Issuer signs and checks access tokens. It is safe for concurrent use.
type Issuer struct {
	Keys *Keys
	// Name is the iss claim; Audience the aud claim.
	Name     string
	Audience string
	Now      func() time.Time
}

// Issue returns an access token for the user as of a time, and its scope. A token that follows
// a revocation within its second says the next second, since the gateway and we
// refuse what is not younger than the revocation.
func (i *Issuer) Issue(p *sql.Credentials, at time.Time) (token, scope string, err error) {
	now := at.Truncate(time.Second)
	if !now.After(p.TokensRevokedAt) {
		now = p.TokensRevokedAt.Add(time.Second)
	}
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: i.Name, Subject: strconv.FormatInt(p.ID, 10), Audience: jwt.ClaimStrings{i.Audience},
			ID: rand.Text(), IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(AccessLife)),
		},
		Scope: scopes[p.Role], Role: p.Role, Plan: p.Plan,
	}
	id, key := i.Keys.signing()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	t.Header["kid"] = id
	token, err = t.SignedString(key)
	return token, c.Scope, err
}

// maxToken bounds what is parsed at all. Ours have less than 1 KiB.
const maxToken = 8 << 10

// Verify returns whose token this is and when it was issued.
func (i *Issuer) Verify(ctx context.Context, token string) (user int64, issuedAt time.Time, err error) {
	var c claims
	if err := i.parse(ctx, token, i.Audience, &c); err != nil {
		return 0, time.Time{}, err
	}
	user, err = strconv.ParseInt(c.Subject, 10, 64)
	if err != nil || user < 1 || c.IssuedAt == nil {
		return 0, time.Time{}, errors.New("the token has no usable sub and iat")
	}
	return user, c.IssuedAt.Time, nil
}

// parse checks a token of ours for the given audience and reads its claims.
func (i *Issuer) parse(ctx context.Context, token, audience string, into jwt.Claims) error {
	if len(token) > maxToken {
		return errors.New("the token is too long")
	}
	_, err := jwt.ParseWithClaims(token, into, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		if key, ok := i.Keys.verifying(ctx, id); ok {
			return key, nil
		}
		return nil, errors.New("unknown key")
	},
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(i.Name), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(clockSkew), jwt.WithTimeFunc(i.Now))
	return err
}

// newSecret returns a token of 256 random bits and the hash to store. A fast
// hash will do: such a token cannot be guessed.
func newSecret() (secret string, hash []byte) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails: the runtime crashes instead
	secret = base64.RawURLEncoding.EncodeToString(b)
	return secret, hashSecret(secret)
}

func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

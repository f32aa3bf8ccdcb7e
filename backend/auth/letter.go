package auth

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// A letter token is what a mail carries to prove that its reader owns the
// address. It is signed, not stored: what it is bound to makes it useless once
// it was used. Its audience keeps it from being taken for an access token.

// purpose is what a letter token is good for.
type purpose string

const (
	verifyEmail   purpose = "verify-email"
	resetPassword purpose = "reset-password"
)

// lives are how long a letter token is good for.
var lives = map[purpose]time.Duration{verifyEmail: 48 * time.Hour, resetPassword: time.Hour}

type letterClaims struct {
	jwt.RegisteredClaims
	// Bind is a hash of what the token is bound to.
	Bind string `json:"bind"`
}

func bind(to string) string { return hex.EncodeToString(digest(to)[:16]) }

func (i *Issuer) letterAudience(p purpose) string { return i.Name + "#" + string(p) }

func (i *Issuer) issueLetter(p purpose, user int64, to string) (string, error) {
	now := i.Now()
	id, key := i.Keys.signing()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, letterClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: i.Name, Subject: strconv.FormatInt(user, 10), Audience: jwt.ClaimStrings{i.letterAudience(p)},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(lives[p])),
		},
		Bind: bind(to),
	})
	t.Header["kid"] = id
	return t.SignedString(key)
}

func (i *Issuer) readLetter(ctx context.Context, p purpose, token string) (user int64, bound string, err error) {
	var c letterClaims
	if err := i.parse(ctx, token, i.letterAudience(p), &c); err != nil {
		return 0, "", err
	}
	user, err = strconv.ParseInt(c.Subject, 10, 64)
	return user, c.Bind, err
}

// errLetter is the same for every way in which a letter token can be wrong.
func errLetter(cause error) error {
	return &backend.Error{
		Code: backend.Invalid, Message: "bad token", Err: cause,
		Fields: []backend.FieldError{{Field: "token", Message: "is invalid, has expired or was used"}},
	}
}

var errBinding = errors.New("what the token is bound to has changed")

// VerifyToken returns the token by which the reader of a mail to u proves to own
// its address.
func (s *Service) VerifyToken(u *backend.User) (string, error) {
	return s.Issuer.issueLetter(verifyEmail, u.ID, u.Email)
}

// VerifyEmail marks the address that token was sent to as its user's, whom it
// returns. It may be done again.
func (s *Service) VerifyEmail(ctx context.Context, token string) (user int64, err error) {
	user, bound, err := s.Issuer.readLetter(ctx, verifyEmail, token)
	if err != nil {
		return 0, errLetter(err)
	}
	u, err := s.DB.User(ctx, user)
	switch {
	case backend.ErrorCode(err) == backend.NotFound:
		return 0, errLetter(err)
	case err != nil:
		return 0, err
	case bind(u.Email) != bound:
		return 0, errLetter(errBinding)
	}
	return user, s.DB.VerifyEmail(ctx, user, u.Email)
}

// ResetToken returns the token by which the reader of a mail may choose a new
// password.
func (s *Service) ResetToken(c *sql.Credentials) (string, error) {
	return s.Issuer.issueLetter(resetPassword, c.ID, resetBinding(c))
}

// resetBinding makes a new password or a new address the end of earlier letters.
func resetBinding(c *sql.Credentials) string { return c.Email + " " + c.PasswordHash }

// ResetPassword replaces the password of the user that token was sent to, and
// ends all of the user's sessions and tokens.
func (s *Service) ResetPassword(ctx context.Context, token, password string) (user int64, err error) {
	password, wrong := backend.CheckPassword(password)
	if err := backend.InvalidFields(wrong); err != nil {
		return 0, err
	}
	user, bound, err := s.Issuer.readLetter(ctx, resetPassword, token)
	if err != nil {
		return 0, errLetter(err)
	}
	c, err := s.DB.CredentialsByID(ctx, user)
	switch {
	case backend.ErrorCode(err) == backend.NotFound:
		return 0, errLetter(err)
	case err != nil:
		return 0, err
	case bind(resetBinding(c)) != bound:
		return 0, errLetter(errBinding)
	}
	hash, err := s.Hasher.Hash(ctx, password)
	if err != nil {
		return 0, err
	}
	err = s.DB.ReplacePassword(ctx, user, c.PasswordHash, hash)
	if errors.Is(err, sql.ErrPasswordChanged) {
		return 0, errLetter(err)
	}
	return user, err
}

package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql"
)

const (
	// RefreshLife is how long a refresh token waits for its use.
	RefreshLife = 30 * 24 * time.Hour
	// SessionLife ends a session however often it was refreshed.
	SessionLife = 90 * 24 * time.Hour
	// ReuseGrace is how long a used refresh token is still exchanged: a client
	// may have lost the answer, or have sent two requests at once.
	ReuseGrace = 10 * time.Second
)

// Service answers who somebody is. It is safe for concurrent use.
type Service struct {
	DB     *sql.DB
	Hasher *Hasher
	Issuer *Issuer
	Log    *slog.Logger
	Now    func() time.Time
}

// Tokens is what a login or a refresh gives.
type Tokens struct {
	Access      string
	AccessLife  time.Duration
	Scope       string
	Refresh     string
	RefreshLife time.Duration
}

// Client is where a login came from, as far as one can know.
type Client struct {
	UserAgent string
	IP        string
}

var errRefused = backend.Fail(backend.Unauthenticated, "wrong email or password")

// Register creates a user. n is brought into its normal form.
func (s *Service) Register(ctx context.Context, n backend.NewUser) (*backend.User, error) {
	if err := backend.InvalidFields(n.Normalize()); err != nil {
		return nil, err
	}
	hash, err := s.Hasher.Hash(ctx, n.Password)
	if err != nil {
		return nil, err
	}
	return s.DB.CreateUser(ctx, n, hash)
}

// RegisterOnce is Register for a request that carries a key by which it is
// recognized when it comes again. by is who sends it, "" for nobody known: the
// same key from another is another key. It returns the id of the user that was
// created now or, if replayed, before; the password then counts for nothing.
func (s *Service) RegisterOnce(ctx context.Context, by, key string, n backend.NewUser) (id int64, email string, replayed bool, err error) {
	if err := backend.InvalidFields(n.Normalize()); err != nil {
		return 0, "", false, err
	}
	o := sql.Once{Key: digest(by, key), Fingerprint: fingerprint(&n)}
	if id, err = s.DB.Done(ctx, o); err != nil || id != 0 {
		return id, n.Email, true, err
	}
	hash, err := s.Hasher.Hash(ctx, n.Password)
	if err != nil {
		return 0, "", false, err
	}
	id, replayed, err = s.DB.CreateUserOnce(ctx, o, n, hash)
	return id, n.Email, replayed, err
}

// fingerprint leaves the password out: a fast hash of it must not be stored.
func fingerprint(n *backend.NewUser) []byte {
	age := ""
	if n.Age != nil {
		age = strconv.Itoa(*n.Age)
	}
	return digest(n.Email, n.Name, age, string(n.Role), string(n.Plan))
}

// digest hashes parts so that no two lists of parts look alike.
func digest(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return h.Sum(nil)
}

// Login starts a session. The answer and its time are the same for a wrong
// password and for an address that nobody has, and so is when it stops to look at
// passwords at all.
func (s *Service) Login(ctx context.Context, email, password string, from Client) (*Tokens, error) {
	email, okEmail := backend.NormalizeEmail(email)
	password, okPassword := backend.NormalizePassword(password)
	tries := triesOf(email, from.IP)
	if err := s.DB.Try(ctx, lockoutWindow, tries.all()...); err != nil {
		return nil, err
	}
	c := &sql.Credentials{}
	if okEmail && okPassword {
		found, err := s.DB.CredentialsByEmail(ctx, email)
		switch {
		case err == nil:
			c = found
		case backend.ErrorCode(err) != backend.NotFound:
			return nil, err
		}
	}
	ok, err := s.Hasher.Verify(ctx, c.PasswordHash, password)
	switch {
	case err != nil: // nothing was found out about the password
		return nil, errors.Join(err, s.DB.SucceedLogin(ctx, tries.all(), nil))
	case !ok:
		return nil, errRefused
	}
	if err := s.DB.SucceedLogin(ctx, []sql.Tries{tries.ip}, []sql.Tries{tries.pair, tries.account}); err != nil {
		return nil, err
	}
	s.upgrade(ctx, c, password)
	return s.startSession(ctx, c, from)
}

// upgrade hashes the password anew if that costs another amount now than when it
// was stored. That it did not work is no reason to refuse the login.
func (s *Service) upgrade(ctx context.Context, c *sql.Credentials, password string) {
	if !s.Hasher.Outdated(c.PasswordHash) {
		return
	}
	hash, err := s.Hasher.Hash(ctx, password)
	if err == nil {
		err = s.DB.SetPasswordHash(ctx, c.ID, c.PasswordHash, hash)
	}
	if err != nil {
		s.Log.WarnContext(ctx, "rehashing a password", "user_id", c.ID, "error", err)
	}
}

func (s *Service) startSession(ctx context.Context, c *sql.Credentials, from Client) (*Tokens, error) {
	now := s.Now()
	session := backend.Session{
		ID: rand.Text(), UserID: c.ID, UserAgent: truncate(from.UserAgent, 200), IP: from.IP,
		CreatedAt: now, LastUsedAt: now, ExpiresAt: now.Add(SessionLife),
	}
	secret, hash := newSecret()
	token := backend.RefreshToken{Hash: hash, SessionID: session.ID, CreatedAt: now, ExpiresAt: now.Add(RefreshLife)}
	err := s.DB.StartSession(ctx, session, token, c.TokensRevokedAt)
	if backend.ErrorCode(err) == backend.NotFound { // deleted a moment ago
		return nil, errRefused
	}
	if err != nil {
		return nil, err
	}
	return s.tokens(c, secret, token, now)
}

// Refresh exchanges a refresh token for new tokens, with the role and the plan
// that the user has now.
func (s *Service) Refresh(ctx context.Context, secret string) (*Tokens, error) {
	successor, hash := newSecret()
	next := backend.RefreshToken{Hash: hash}
	now := s.Now()
	c, err := s.DB.RotateRefreshToken(ctx, hashSecret(secret), &next, RefreshLife, ReuseGrace)
	if errors.Is(err, sql.ErrTokenReused) {
		s.Log.WarnContext(ctx, "a refresh token was used twice; its session is revoked")
	}
	if err != nil {
		return nil, err
	}
	return s.tokens(c, successor, next, now)
}

// tokens are good for whoever c was at the given time, which is before c was read:
// what revokes them later is later than what they say.
func (s *Service) tokens(c *sql.Credentials, secret string, t backend.RefreshToken, at time.Time) (*Tokens, error) {
	access, scope, err := s.Issuer.Issue(c, at)
	if err != nil {
		return nil, err
	}
	return &Tokens{
		Access: access, AccessLife: AccessLife, Scope: scope,
		Refresh: secret, RefreshLife: t.ExpiresAt.Sub(t.CreatedAt),
	}, nil
}

// Logout ends the session that a refresh token belongs to.
func (s *Service) Logout(ctx context.Context, secret string) error {
	return s.DB.EndSession(ctx, hashSecret(secret))
}

// Authenticate returns who sent an access token. The role is the one the user
// has now; a token of a deleted user is worth nothing.
func (s *Service) Authenticate(ctx context.Context, token string) (*backend.Principal, error) {
	id, issuedAt, err := s.Issuer.Verify(ctx, token)
	if err != nil {
		return nil, &backend.Error{Code: backend.Unauthenticated, Message: "invalid token", Err: err}
	}
	c, err := s.DB.CredentialsByID(ctx, id)
	if backend.ErrorCode(err) == backend.NotFound {
		return nil, &backend.Error{Code: backend.Unauthenticated, Message: "the user is gone", Err: err}
	}
	if err != nil {
		return nil, err
	}
	if !issuedAt.After(c.TokensRevokedAt) {
		return nil, backend.Fail(backend.Unauthenticated, "the token was revoked")
	}
	return &c.Principal, nil
}

// truncate shortens s to at most n bytes of valid UTF-8.
func truncate(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
}

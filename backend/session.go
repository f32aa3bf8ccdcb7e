package backend

import "time"

// Session is one login of a user on one device. Every refresh token of that
// login belongs to it: they are a family, and revoking the session revokes all.
type Session struct {
	ID     string
	UserID int64
	// UserAgent and IP are what the client said and where it came from.
	UserAgent  string
	IP         string
	CreatedAt  time.Time
	LastUsedAt time.Time
	// ExpiresAt ends the session however often it is refreshed.
	ExpiresAt time.Time
	RevokedAt *time.Time
}

// RefreshToken is one token of a session's family. Only its hash is stored.
type RefreshToken struct {
	Hash      []byte
	SessionID string
	CreatedAt time.Time
	ExpiresAt time.Time
	// UsedAt is when it was exchanged for its successor.
	UsedAt *time.Time
}

// KeyState is where a signing key is in its life: published before it signs,
// signing, and published after it signed until its last token has expired.
type KeyState string

// The states of a signing key, in their order.
const (
	KeyNext    KeyState = "next"
	KeyActive  KeyState = "active"
	KeyRetired KeyState = "retired"
)

// SigningKey is a key for access tokens, in PKCS #8.
type SigningKey struct {
	ID        string
	State     KeyState
	Private   []byte
	CreatedAt time.Time
	// ChangedAt is when State was entered.
	ChangedAt time.Time
}

// EventKind says what happened to a user.
type EventKind string

// The events.
const (
	// UserCreated is the first of every user.
	UserCreated EventKind = "user.created"
	// TokensRevoked says that access tokens issued at or before the event's time
	// are no longer good.
	TokensRevoked EventKind = "user.tokens_revoked"
)

// Event is something that happened to a user and that others have to hear of.
type Event struct {
	Kind   EventKind
	UserID int64
	// At is when it happened, for TokensRevoked in whole seconds.
	At time.Time
}

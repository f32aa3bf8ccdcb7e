package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// reloadEvery is how soon an instance sees a rotation that another one made. It
// is far shorter than what a next key waits before it signs.
const reloadEvery = 30 * time.Second

// minReload bounds what tokens with made-up key ids cost.
const minReload = 5 * time.Second

// JWK is the public half of a signing key (RFC 7517, RFC 7518 6.2.1).
type JWK struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

// keySnapshot is one reading of the keys. It never changes.
type keySnapshot struct {
	active string
	signer *ecdsa.PrivateKey
	public map[string]*ecdsa.PublicKey
	jwks   []JWK
	readAt time.Time
}

// Keys holds the signing keys as the store has them. It is safe for concurrent use.
type Keys struct {
	db   *sql.DB
	now  func() time.Time
	mu   sync.Mutex // one reload at a time
	snap atomic.Pointer[keySnapshot]
}

// OpenKeys reads the signing keys and makes those that are missing: one that
// signs, and one that is published already for the day it will.
func OpenKeys(ctx context.Context, db *sql.DB, now func() time.Time) (*Keys, error) {
	k := &Keys{db: db, now: now}
	if err := k.ensure(ctx); err != nil {
		return nil, fmt.Errorf("making signing keys: %w", err)
	}
	if err := k.reload(ctx); err != nil {
		return nil, fmt.Errorf("reading signing keys: %w", err)
	}
	return k, nil
}

// ensure adds what is missing. A key is made only if its state is empty, since
// making one and losing the race costs nothing but the making.
func (k *Keys) ensure(ctx context.Context) error {
	have, err := k.db.SigningKeys(ctx)
	if err != nil {
		return err
	}
	states := map[backend.KeyState]bool{}
	for _, key := range have {
		states[key.State] = true
	}
	for _, s := range []backend.KeyState{backend.KeyActive, backend.KeyNext} {
		if states[s] {
			continue
		}
		key, err := NewSigningKey(s, k.now())
		if err != nil {
			return err
		}
		if err := k.db.AddSigningKey(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// NewSigningKey makes a key for ES256. Its id is its thumbprint (RFC 7638).
func NewSigningKey(state backend.KeyState, now time.Time) (backend.SigningKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return backend.SigningKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return backend.SigningKey{}, err
	}
	jwk, err := publicJWK(&private.PublicKey)
	if err != nil {
		return backend.SigningKey{}, err
	}
	return backend.SigningKey{ID: jwk.ID, State: state, Private: der, CreatedAt: now, ChangedAt: now}, nil
}

func publicJWK(p *ecdsa.PublicKey) (JWK, error) {
	point, err := p.Bytes() // 4, x, y: both of the same length
	if err != nil {
		return JWK{}, err
	}
	half := (len(point) - 1) / 2
	b64 := base64.RawURLEncoding.EncodeToString
	j := JWK{KeyType: "EC", Curve: "P-256", X: b64(point[1 : 1+half]), Y: b64(point[1+half:]), Use: "sig", Algorithm: "ES256"}
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, j.Curve, j.KeyType, j.X, j.Y))
	j.ID = b64(sum[:])
	return j, nil
}

// reload replaces the snapshot by what the store has now.
func (k *Keys) reload(ctx context.Context) error {
	stored, err := k.db.SigningKeys(ctx)
	if err != nil {
		return err
	}
	s := &keySnapshot{public: map[string]*ecdsa.PublicKey{}, readAt: k.now()}
	for _, key := range stored {
		if err := s.add(key); err != nil {
			return fmt.Errorf("key %q: %w", key.ID, err)
		}
	}
	if s.signer == nil {
		return errors.New("there is no active key")
	}
	k.snap.Store(s)
	return nil
}

func (s *keySnapshot) add(key backend.SigningKey) error {
	parsed, err := x509.ParsePKCS8PrivateKey(key.Private)
	if err != nil {
		return err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return errors.New("it is not a P-256 key")
	}
	jwk, err := publicJWK(&private.PublicKey)
	if err != nil {
		return err
	}
	if key.State == backend.KeyActive {
		s.active, s.signer = jwk.ID, private
	}
	s.public[jwk.ID] = &private.PublicKey
	s.jwks = append(s.jwks, jwk)
	return nil
}

// fresh is reload for many callers at once: it reads the store at most once in
// the given time.
func (k *Keys) fresh(ctx context.Context, within time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now().Sub(k.snap.Load().readAt) < within {
		return nil
	}
	return k.reload(ctx)
}

// Run keeps up with the store until ctx ends, and rotates keys that have signed
// for longer than maxAge; 0 leaves that to the operator. failed is told of each
// attempt that did not work; the keys then stay as they were.
func (k *Keys) Run(ctx context.Context, maxAge time.Duration, failed func(error)) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := k.keepUp(ctx, maxAge); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
	}
}

func (k *Keys) keepUp(ctx context.Context, maxAge time.Duration) error {
	if maxAge > 0 {
		if _, err := k.RotateOlderThan(ctx, maxAge); err != nil {
			return err
		}
	}
	return k.fresh(ctx, reloadEvery/2)
}

// signing returns the key that signs and its id.
func (k *Keys) signing() (string, *ecdsa.PrivateKey) {
	s := k.snap.Load()
	return s.active, s.signer
}

// verifying returns the key with the given id. It looks into the store if it
// does not know the id, since another instance may have rotated.
func (k *Keys) verifying(ctx context.Context, id string) (*ecdsa.PublicKey, bool) {
	if p, ok := k.snap.Load().public[id]; ok {
		return p, true
	}
	if k.fresh(ctx, minReload) != nil {
		return nil, false
	}
	p, ok := k.snap.Load().public[id]
	return p, ok
}

// JWKS returns the public keys: the one that signs, the one that will, and those
// whose tokens may still be about.
func (k *Keys) JWKS() []JWK { return k.snap.Load().jwks }

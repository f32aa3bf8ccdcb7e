package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// publishFor is how long a next key is published before it may sign: longer than
// the key set is cached (5 minutes here, and as long in gateways) and than
// instances take to hear of it.
const publishFor = 15 * time.Minute

// retireFor is how long a key that signed is still published: until the last
// token it signed has expired, letters included.
const retireFor = 48*time.Hour + time.Hour

// Rotation says how to rotate.
type Rotation struct {
	// Force also rotates to a key that gateways may not know yet.
	Force bool
	// Forget also removes the key that signed: its tokens end as soon as gateways
	// have fetched the keys. It is for a key that leaked.
	Forget bool
}

// Rotate makes the next key sign, the signing one retire, and a new one the next;
// keys that retired long enough ago are removed. A next key that was not published
// for long enough refuses the rotation, since gateways would refuse its tokens.
func Rotate(ctx context.Context, db *sql.DB, now time.Time, r Rotation) (active string, err error) {
	fresh, err := NewSigningKey(backend.KeyNext, now)
	if err != nil {
		return "", err
	}
	published, forget := now.Add(-publishFor), now.Add(-retireFor)
	if r.Force {
		published = now
	}
	if r.Forget {
		forget = now.Add(time.Hour)
	}
	active, err = db.RotateSigningKeys(ctx, fresh, published, forget)
	if err != nil {
		return "", fmt.Errorf("rotating signing keys: %w", err)
	}
	return active, nil
}

// RotateOlderThan rotates if the key that signs has done so for longer than age,
// and reports whether it did. Instances may ask at once: one of them rotates.
func (k *Keys) RotateOlderThan(ctx context.Context, age time.Duration) (bool, error) {
	now := k.now()
	keys, err := k.db.SigningKeys(ctx)
	if err != nil {
		return false, err
	}
	for _, key := range keys {
		if key.State == backend.KeyActive && now.Sub(key.ChangedAt) < age {
			return false, nil
		}
	}
	if _, err := Rotate(ctx, k.db, now, Rotation{}); err != nil {
		return false, err
	}
	return true, k.reload(ctx)
}

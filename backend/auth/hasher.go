package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/fairway-gateway/fairway/backend"
)

// Cost is what one hash costs (RFC 9106). More of any is slower, here and for
// somebody who guesses.
type Cost struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultCost takes about 30 ms and 19 MiB, as OWASP recommends for argon2id.
var DefaultCost = Cost{Memory: 19456, Time: 2, Threads: 1}

// TestCost takes microseconds. It protects nothing and is for tests only.
var TestCost = Cost{Memory: 64, Time: 1, Threads: 1}

// maxWait is how long a request queues for a hash before it is told to come back.
const maxWait = 2 * time.Second

const (
	saltBytes = 16
	hashBytes = 32
)

// Hasher hashes passwords with argon2id, no more at once than leave a processor
// for everything else: without that bound, 64 logins at once take more than
// 1 GiB and stall every other request for seconds. It is safe for concurrent use.
type Hasher struct {
	cost  Cost
	slots chan struct{}
	dummy string // the hash of no password
}

// NewHasher returns a hasher of the given cost for max(1, GOMAXPROCS-1) hashes
// at once.
func NewHasher(c Cost) *Hasher {
	h := &Hasher{cost: c, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))}
	h.dummy = phc(c, randomBytes(saltBytes), randomBytes(hashBytes))
	return h
}

// Hash returns the hash of a password in the PHC string format, with a fresh
// salt. It fails with Unavailable if the queue is too long.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return h.hash(password), nil
}

// Verify reports whether password has the given hash. An empty hash stands for
// a user who does not exist: it takes as long as a real one and never matches.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	exists := hash != ""
	if !exists {
		hash = h.dummy
	}
	c, salt, want, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	release, err := h.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	got := argon2.IDKey([]byte(password), salt, c.Time, c.Memory, c.Threads, uint32(len(want))) //nolint:gosec // parsePHC bounds it
	return subtle.ConstantTimeCompare(got, want) == 1 && exists, nil
}

// Outdated reports whether hash was made at another cost than new ones are.
func (h *Hasher) Outdated(hash string) bool {
	c, _, _, err := parsePHC(hash)
	return err == nil && c != h.cost
}

// Occupy takes every slot until release is called, for tests of what happens
// under load.
func (h *Hasher) Occupy() (release func()) {
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	return func() {
		for range cap(h.slots) {
			<-h.slots
		}
	}
}

func (h *Hasher) acquire(ctx context.Context) (release func(), err error) {
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	default:
	}
	wait := time.NewTimer(maxWait)
	defer wait.Stop()
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-wait.C:
		return nil, backend.Busy("the password hasher", time.Second, nil)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Load returns how many hashes are running, and how many can.
func (h *Hasher) Load() (running, most int) { return len(h.slots), cap(h.slots) }

func (h *Hasher) hash(password string) string {
	salt := randomBytes(saltBytes)
	return phc(h.cost, salt, argon2.IDKey([]byte(password), salt, h.cost.Time, h.cost.Memory, h.cost.Threads, hashBytes))
}

func phc(c Cost, salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Time, c.Threads, b64(salt), b64(key))
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails: the runtime crashes instead
	return b
}

var errPHC = errors.New("the stored hash is not argon2id in the PHC string format")

func parsePHC(s string) (c Cost, salt, key []byte, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errPHC
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.Memory, &c.Time, &c.Threads); err != nil || c.Time < 1 || c.Threads < 1 {
		return c, nil, nil, errPHC
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	key, errKey := base64.RawStdEncoding.DecodeString(parts[5])
	if errSalt != nil || errKey != nil || len(key) < 16 || len(key) > 128 {
		return c, nil, nil, errPHC
	}
	return c, salt, key, nil
}

package auth

import (
	"sync"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

func keyIDs(k *Keys) map[string]bool {
	ids := map[string]bool{}
	for _, j := range k.JWKS() {
		ids[j.ID] = true
	}
	return ids
}

// A token is good over a rotation, its key leaves the set after it has expired,
// and what signs was published long before.
func TestRotate_NextActiveRetired(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		k := s.Issuer.Keys
		register(t, s, "ada@example.com")
		old := login(t, s, "ada@example.com").Access
		first, _ := k.signing()
		if _, err := Rotate(t.Context(), s.DB, c.now(), Rotation{}); backend.ErrorCode(err) != backend.Conflict {
			t.Errorf("rotating to a key that nobody can know = %v, want it refused", err)
		}
		if err := k.reload(t.Context()); err != nil {
			t.Fatalf("the refusal left no key that signs: %v", err)
		}
		published := keyIDs(k)
		c.advance(publishFor - AccessLife + time.Minute) // the old token lives on
		c.advance(AccessLife - 2*time.Minute)
		active, err := Rotate(t.Context(), s.DB, c.now().Add(time.Minute), Rotation{})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if id, _ := k.signing(); id != active || id == first || !published[id] {
			t.Errorf("%q signs, want the key that was published, %q", id, active)
		}
		if _, err := s.Authenticate(t.Context(), old); err != nil {
			t.Errorf("the old key's token = %v", err)
		}
		if n := len(k.JWKS()); n != 3 {
			t.Errorf("%d keys are published, want the retired, the active and the next", n)
		}
		c.advance(retireFor + time.Hour)
		if _, err := Rotate(t.Context(), s.DB, c.now(), Rotation{}); err != nil {
			t.Fatal(err)
		}
		if err := k.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if keyIDs(k)[first] {
			t.Error("the first key is still published")
		}
	})
}

// Another instance learns of the rotation from the first token of the new key.
func TestRotate_OtherInstances(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		other := serviceOn(t, s.DB, c)
		register(t, s, "ada@example.com")
		for range 2 { // the second time signs with a key that the other has not seen
			if _, err := Rotate(t.Context(), s.DB, c.now(), Rotation{Force: true}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Issuer.Keys.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		token := login(t, s, "ada@example.com").Access
		c.advance(minReload)
		if _, err := other.Authenticate(t.Context(), token); err != nil {
			t.Errorf("the other instance = %v", err)
		}
	})
}

// A key that leaked is forgotten, and its tokens with it.
func TestRotate_Forget(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		register(t, s, "ada@example.com")
		token := login(t, s, "ada@example.com").Access
		if _, err := Rotate(t.Context(), s.DB, c.now(), Rotation{Force: true, Forget: true}); err != nil {
			t.Fatal(err)
		}
		if err := s.Issuer.Keys.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(t.Context(), token); backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("a token of the forgotten key = %v", err)
		}
		if n := len(s.Issuer.Keys.JWKS()); n != 2 {
			t.Errorf("%d keys are published, want 2", n)
		}
	})
}

func TestRotateOlderThan_OncePerAge(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		k := s.Issuer.Keys
		first, _ := k.signing()
		if did, err := k.RotateOlderThan(t.Context(), time.Hour); did || err != nil {
			t.Errorf("a young key: %v, %v", did, err)
		}
		c.advance(time.Hour)
		var mu sync.Mutex
		rotated := 0
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				did, err := k.RotateOlderThan(t.Context(), time.Hour)
				mu.Lock()
				defer mu.Unlock()
				if did {
					rotated++
				} else if err != nil && backend.ErrorCode(err) != backend.Conflict {
					t.Errorf("RotateOlderThan() = %v", err)
				}
			})
		}
		wait.Wait()
		if id, _ := k.signing(); rotated != 1 || id == first {
			t.Errorf("%d of four rotated, and %q signs after %q", rotated, id, first)
		}
	})
}

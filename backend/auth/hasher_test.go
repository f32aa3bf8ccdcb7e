package auth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

func TestHasher_VerifiesOnlyTheSamePassword(t *testing.T) {
	h := NewHasher(TestCost)
	hash, err := h.Hash(t.Context(), "secret one")
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Hash(t.Context(), "secret one")
	if err != nil || again == hash {
		t.Errorf("the same hash twice: the salt is not fresh (%v)", err)
	}
	for name, tc := range map[string]struct {
		hash, password string
		want           bool
	}{
		"right": {hash, "secret one", true}, "wrong": {hash, "secret two", false},
		"nobody": {"", "a password that nobody has", false},
	} {
		if got, err := h.Verify(t.Context(), tc.hash, tc.password); got != tc.want || err != nil {
			t.Errorf("%s: Verify() = %v, %v, want %v", name, got, err, tc.want)
		}
	}
}

func TestHasher_DefaultCostIsWhatTheHashSays(t *testing.T) {
	hash, err := NewHasher(DefaultCost).Hash(t.Context(), "secret one")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("Hash() = %q, %v", hash, err)
	}
	if h := NewHasher(TestCost); !h.Outdated(hash) {
		t.Error("a hash of another cost is not outdated")
	}
	if h := NewHasher(DefaultCost); h.Outdated(hash) {
		t.Error("a hash of the same cost is outdated")
	}
}

func TestHasher_BrokenHash(t *testing.T) {
	h := NewHasher(TestCost)
	for _, hash := range []string{"x", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=64,t=0,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=64,t=1,p=1$AAAA$AA"} {
		if _, err := h.Verify(t.Context(), hash, "x"); err == nil {
			t.Errorf("Verify(%q) did not complain", hash)
		}
	}
}

// With every slot taken, a request waits two seconds and is then sent away.
func TestHasher_QueueEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(TestCost)
		for range cap(h.slots) {
			h.slots <- struct{}{}
		}
		began := time.Now()
		_, err := h.Hash(t.Context(), "x")
		var e *backend.Error
		if !errors.As(err, &e) || e.Code != backend.Unavailable || e.RetryAfter == 0 {
			t.Errorf("Hash() = %v, want unavailable", err)
		}
		if took := time.Since(began); took != maxWait {
			t.Errorf("it waited %v, want %v", took, maxWait)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Hash(ctx, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("Hash() for a client that left = %v", err)
		}
		time.AfterFunc(time.Second, func() { <-h.slots })
		if _, err := h.Hash(t.Context(), "x"); err != nil {
			t.Errorf("Hash() after a slot came free = %v", err)
		}
	})
}

func TestHasher_ManyAtOnce(t *testing.T) {
	h := NewHasher(TestCost)
	var wait sync.WaitGroup
	for range 64 {
		wait.Go(func() {
			if _, err := h.Hash(t.Context(), "x"); err != nil {
				t.Errorf("Hash() = %v", err)
			}
		})
	}
	wait.Wait()
	if len(h.slots) != 0 {
		t.Errorf("%d slots were not given back", len(h.slots))
	}
}

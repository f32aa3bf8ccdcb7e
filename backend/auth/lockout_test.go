package auth

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fairway-gateway/fairway/backend"
)

var (
	home   = Client{IP: "192.0.2.1"}
	abroad = Client{IP: "198.51.100.1"}
)

// try logs in and returns the kind of the refusal.
func try(t *testing.T, s *Service, email, password string, from Client) backend.Code {
	t.Helper()
	_, err := s.Login(t.Context(), email, password, from)
	return backend.ErrorCode(err)
}

// After five wrong passwords not even the right one is looked at, and an account
// that does not exist looks the same.
func TestLockout_SameForThoseWhoDoNotExist(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		register(t, s, "ada@example.com")
		for _, email := range []string{"ada@example.com", "nobody@example.com"} {
			for n := range pairLimit {
				if got := try(t, s, email, "wrong horse", home); got != backend.Unauthenticated {
					t.Errorf("%s: failure %d = %q", email, n+1, got)
				}
			}
			_, err := s.Login(t.Context(), email, password, home)
			var e *backend.Error
			if !errors.As(err, &e) || e.Code != backend.Throttled || e.RetryAfter <= 0 || e.RetryAfter > lockoutWindow {
				t.Errorf("%s: after them = %v, want it throttled", email, err)
			}
		}
		if got := try(t, s, "ada@example.com", password, abroad); got != "" {
			t.Errorf("from elsewhere = %q: somebody else can lock Ada out", got)
		}
		c.advance(lockoutWindow)
		if got := try(t, s, "ada@example.com", password, home); got != "" {
			t.Errorf("after the window = %q", got)
		}
	})
}

func TestLockout_SuccessForgets(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		for range 3 {
			for range pairLimit - 1 {
				try(t, s, "ada@example.com", "wrong horse", home)
			}
			if got := try(t, s, "ada@example.com", password, home); got != "" {
				t.Fatalf("the right password = %q", got)
			}
		}
	})
}

func TestLockout_OneAddressManyAccounts(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		for range 10 { // successes do not count
			try(t, s, "ada@example.com", password, home)
		}
		for n := range ipLimit {
			try(t, s, fmt.Sprintf("u%d@example.com", n), "wrong horse", home)
		}
		if got := try(t, s, "ada@example.com", password, home); got != backend.Throttled {
			t.Errorf("after %d failures from one address = %q", ipLimit, got)
		}
		if got := try(t, s, "ada@example.com", password, abroad); got != "" {
			t.Errorf("from another address = %q", got)
		}
	})
}

func TestLockout_ManyAtOnceHaveNoMoreTries(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		var looked atomic.Int64
		var wait sync.WaitGroup
		for range 40 {
			wait.Go(func() {
				if try(t, s, "ada@example.com", "wrong horse", home) == backend.Unauthenticated {
					looked.Add(1)
				}
			})
		}
		wait.Wait()
		if n := looked.Load(); n != pairLimit {
			t.Errorf("%d passwords were looked at, want %d", n, pairLimit)
		}
	})
}

// Many who know their passwords come from one address at once: the few that are
// turned away were not counted, and nobody is locked out afterwards.
func TestLockout_StormOfRightPasswords(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		var wait sync.WaitGroup
		for range 4 * pairLimit {
			wait.Go(func() {
				if got := try(t, s, "ada@example.com", password, home); got != "" && got != backend.Throttled {
					t.Errorf("the right password = %q", got)
				}
			})
		}
		wait.Wait()
		if got := try(t, s, "ada@example.com", password, home); got != "" {
			t.Errorf("after the storm = %q", got)
		}
	})
}

// A busy service finds nothing out about a password, and so counts nothing.
func TestLockout_BusyDoesNotCount(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		release := s.Hasher.Occupy()
		var wait sync.WaitGroup
		for range pairLimit + 1 {
			wait.Go(func() {
				if got := try(t, s, "ada@example.com", password, home); got != backend.Unavailable && got != backend.Throttled {
					t.Errorf("while busy = %q", got)
				}
			})
		}
		wait.Wait()
		release()
		if got := try(t, s, "ada@example.com", password, home); got != "" {
			t.Errorf("afterwards = %q", got)
		}
	})
}

// Whoever has an address of IPv6 has all of its network: they are one.
func TestLockout_AddressesOfOneNetwork(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		at := func(n int) Client { return Client{IP: fmt.Sprintf("2001:db8:1:2::%x", n)} }
		for n := range pairLimit {
			if got := try(t, s, "ada@example.com", "wrong horse", at(n)); got != backend.Unauthenticated {
				t.Errorf("failure %d = %q", n+1, got)
			}
		}
		if got := try(t, s, "ada@example.com", password, at(pairLimit)); got != backend.Throttled {
			t.Errorf("from the next address of the network = %q, want %q", got, backend.Throttled)
		}
		if got := try(t, s, "ada@example.com", password, Client{IP: "2001:db8:1:3::1"}); got != "" {
			t.Errorf("from another network = %q", got)
		}
	})
}

// Other spellings of an address are the same account, or none.
func TestLockout_SpellingsAreNoMoreTries(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		for _, email := range []string{"ada@example.com", "ADA@example.com", "ada@EXAMPLE.com", "Ada@Example.Com", "ada@ｅxample.com"} {
			if got := try(t, s, email, "wrong horse", home); got != backend.Unauthenticated {
				t.Errorf("%q = %q", email, got)
			}
		}
		for _, email := range []string{"ada@example.com", "aDa@example.com"} {
			if got := try(t, s, email, password, home); got != backend.Throttled {
				t.Errorf("%q with the right password = %q, want %q", email, got, backend.Throttled)
			}
		}
		for _, email := range []string{" ada@example.com", "ada@example.com ", "ada+1@example.com", "ada@example.com.", "аda@example.com"} {
			if got := try(t, s, email, password, home); got != backend.Unauthenticated {
				t.Errorf("%q = %q, want that nobody has it", email, got)
			}
		}
	})
}

func TestBeginReset_IsBoundedForAddressesAndClients(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		register(t, s, "ada@example.com")
		begin := func(email, ip string) backend.Code {
			return backend.ErrorCode(s.BeginReset(t.Context(), email, ip))
		}
		for _, email := range []string{"ada@example.com", "nobody@example.com"} {
			for n := range resetLimit {
				if got := begin(email, fmt.Sprintf("192.0.2.%d", n)); got != "" {
					t.Errorf("%s: %d = %q", email, n+1, got)
				}
			}
			if got := begin(email, "192.0.2.99"); got != backend.Throttled {
				t.Errorf("%s: one more = %q, want %q", email, got, backend.Throttled)
			}
		}
		for n := range resetIPLimit {
			if got := begin(fmt.Sprintf("u%d@example.com", n), "198.51.100.7"); got != "" {
				t.Errorf("address %d from one client = %q", n+1, got)
			}
		}
		if got := begin("eve@example.com", "198.51.100.7"); got != backend.Throttled {
			t.Errorf("one more address = %q, want %q", got, backend.Throttled)
		}
		c.advance(lockoutWindow)
		if got := begin("ada@example.com", "198.51.100.7"); got != "" {
			t.Errorf("after the window = %q", got)
		}
	})
}

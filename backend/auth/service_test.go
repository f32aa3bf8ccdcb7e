package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fairway-gateway/fairway/backend"
)

func TestLogin_TokenSaysWhoAndWhat(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		u := register(t, s, "ada@example.com")
		tokens := login(t, s, "Ada@EXAMPLE.com")
		var c jwt.MapClaims
		parsed, _, err := jwt.NewParser().ParseUnverified(tokens.Access, &c)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Method.Alg() != "ES256" || c["iss"] != "https://fairway.example" || c["sub"] != "1" || c["role"] != "user" ||
			c["plan"] != "free" || c["scope"] != "users:read users:write" || c["exp"].(float64)-c["iat"].(float64) != 900 || c["jti"] == "" {
			t.Errorf("token %v %v is not as promised", parsed.Header, c)
		}
		p, err := s.Authenticate(t.Context(), tokens.Access)
		if err != nil || p.ID != u.ID || p.Role != backend.RoleUser {
			t.Errorf("Authenticate() = %+v, %v", p, err)
		}
	})
}

func TestLogin_Refusals(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		for name, tc := range map[string]struct{ email, password string }{
			"wrong password": {"ada@example.com", "wrong horse"}, "nobody": {"eve@example.com", password},
			"no address": {"' OR 1=1", password}, "empty": {"", ""}, "NUL": {"ada@example.com", "a\x00b"},
		} {
			if _, err := s.Login(t.Context(), tc.email, tc.password, Client{}); err != errRefused {
				t.Errorf("%s: Login() = %v, want the one refusal", name, err)
			}
		}
	})
}

func TestLogin_RehashesAtTheNewCost(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		s.Hasher = NewHasher(Cost{Memory: 128, Time: 1, Threads: 1})
		login(t, s, "ada@example.com")
		c, err := s.DB.CredentialsByEmail(t.Context(), "ada@example.com")
		if err != nil || !strings.Contains(c.PasswordHash, "m=128,") {
			t.Errorf("the stored hash is %q, %v, want the new cost", c.PasswordHash, err)
		}
		login(t, s, "ada@example.com")
	})
}

func TestRefresh_RotatesAndRecognizesACopy(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		register(t, s, "ada@example.com")
		first := login(t, s, "ada@example.com")
		second, err := s.Refresh(t.Context(), first.Refresh)
		if err != nil || second.Refresh == first.Refresh || second.Access == first.Access {
			t.Fatalf("Refresh() = %+v, %v, want new tokens", second, err)
		}
		c.advance(ReuseGrace + time.Second)
		for _, token := range []string{first.Refresh, second.Refresh} {
			if _, err := s.Refresh(t.Context(), token); backend.ErrorCode(err) != backend.Unauthenticated {
				t.Errorf("Refresh() after a copy was used = %v, want it refused", err)
			}
		}
	})
}

func TestLogout_EndsTheFamily(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		register(t, s, "ada@example.com")
		tokens := login(t, s, "ada@example.com")
		if err := s.Logout(t.Context(), tokens.Refresh); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Refresh(t.Context(), tokens.Refresh); backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("Refresh() after the logout = %v", err)
		}
	})
}

// forge signs claims as ours might be, with a key and a header of choice.
func forge(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, change func(jwt.MapClaims), now time.Time) string {
	t.Helper()
	c := jwt.MapClaims{"iss": "https://fairway.example", "aud": "fairway", "sub": "1", "jti": "x", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	if change != nil {
		change(c)
	}
	token := jwt.NewWithClaims(method, c)
	for name, value := range header {
		token.Header[name] = value
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestAuthenticate_Forgeries(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		register(t, s, "ada@example.com")
		id, key := s.Issuer.Keys.signing()
		stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ours := map[string]any{"kid": id}
		with := func(name string, value any) func(jwt.MapClaims) {
			return func(c jwt.MapClaims) {
				if value == nil {
					delete(c, name)
				} else {
					c[name] = value
				}
			}
		}
		es := jwt.SigningMethodES256
		if _, err := s.Authenticate(t.Context(), forge(t, es, key, ours, nil, c.now())); err != nil {
			t.Fatalf("the unchanged token = %v", err)
		}
		for name, token := range map[string]string{
			"empty":                "",
			"not a token":          "a.b.c",
			"too long":             strings.Repeat("x", maxToken+1),
			"stranger's signature": forge(t, es, stranger, ours, nil, c.now()),
			"unknown key":          forge(t, es, stranger, map[string]any{"kid": "x"}, nil, c.now()),
			"no key id":            forge(t, es, key, nil, nil, c.now()),
			"key id is a number":   forge(t, es, key, map[string]any{"kid": 1}, nil, c.now()),
			"no signature":         forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, ours, nil, c.now()),
			"public key as secret": forge(t, jwt.SigningMethodHS256, []byte(id), ours, nil, c.now()),
			"expired":              forge(t, es, key, ours, nil, c.now().Add(-2*time.Minute)),
			"from the future":      forge(t, es, key, ours, nil, c.now().Add(time.Minute)),
			"no expiry":            forge(t, es, key, ours, with("exp", nil), c.now()),
			"another issuer":       forge(t, es, key, ours, with("iss", "https://evil.example"), c.now()),
			"another audience":     forge(t, es, key, ours, with("aud", "billing"), c.now()),
			"no subject":           forge(t, es, key, ours, with("sub", nil), c.now()),
			"subject is no id":     forge(t, es, key, ours, with("sub", "1 OR 1=1"), c.now()),
			"user who is gone":     forge(t, es, key, ours, with("sub", "999"), c.now()),
		} {
			if p, err := s.Authenticate(t.Context(), token); backend.ErrorCode(err) != backend.Unauthenticated {
				t.Errorf("%s: Authenticate() = %+v, %v, want it refused", name, p, err)
			}
		}
	})
}

func TestKeys_SurviveARestartAndAreShared(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		register(t, s, "ada@example.com")
		token := login(t, s, "ada@example.com").Access
		other := serviceOn(t, s.DB, c)
		if _, err := other.Authenticate(t.Context(), token); err != nil {
			t.Errorf("another instance does not know the key: %v", err)
		}
		if got, want := len(other.Issuer.Keys.JWKS()), 2; got != want {
			t.Errorf("there are %d keys, want %d: one that signs, one that will", got, want)
		}
	})
}

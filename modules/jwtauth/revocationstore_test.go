package jwtauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// node is a gateway with its own memory: storage and Redis of its own address,
// so that nothing is shared in this process.
type node struct {
	*Handler
	ctx caddy.Context
}

func newNode(t *testing.T, storage, app, block string) node {
	t.Helper()
	ctx := newContext(t, storage, app)
	h, err := startHandler(t, ctx, block)
	if err != nil {
		t.Fatal(err)
	}
	return node{h, ctx}
}

func (n node) stop(t *testing.T) {
	t.Helper()
	if err := n.Cleanup(); err != nil {
		t.Error(err)
	}
}

// act calls the admin action as the console would.
func (n node) act(t *testing.T, action string, args any) (map[string]any, error) {
	t.Helper()
	app, err := gateway.From(n.ctx)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range app.Parts() {
		if actor, ok := part.(gateway.Actor); ok && part.Kind() == partKind {
			result, err := actor.Act(t.Context(), action, b)
			answer, _ := result.(map[string]any)
			return answer, err
		}
	}
	t.Fatal("no part takes actions")
	return nil, nil
}

func redisApp(url string) string { return fmt.Sprintf(`{"redis":{"url":%q,"timeout":"1s"}}`, url) }

func TestRevoke_TakesEffectAtOnceAndSurvivesARestart(t *testing.T) {
	storage, block := t.TempDir(), fileIssuer(t)
	n := newNode(t, storage, "", block)
	token := sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now()))
	if a := ask(n, request(token)); a.status != 200 {
		t.Fatalf("before: %d", a.status)
	}
	answer, err := n.act(t, "revoke", map[string]any{"jti": "token-1", "exp": fmt.Sprint(time.Now().Add(time.Hour).Unix())})
	if err != nil || answer["revoked"] != "jti" || answer["redis"] != false {
		t.Fatalf("revoke: %v, %v", answer, err)
	}
	if a := ask(n, request(token)); a.status != 401 || !strings.Contains(a.challenge, "revoked") {
		t.Errorf("the next request: %d %s", a.status, a.challenge)
	}
	n.stop(t)

	n = newNode(t, storage, "", block)
	defer n.stop(t)
	if a := ask(n, request(token)); a.status != 401 {
		t.Errorf("after a restart: %d", a.status)
	}
}

// Two gateways with one storage and no Redis must not overwrite each other.
func TestRevocationStore_SharedStorageKeepsBoth(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	open := func() *revocationStore {
		return &revocationStore{revocations: newRevocations(), storage: storage, logger: zap.NewNop()}
	}
	a, b, later := open(), open(), open()
	until := time.Now().Add(time.Hour).Unix()
	for jti, s := range map[string]*revocationStore{"a": a, "b": b} {
		if _, err := s.revoke(t.Context(), revocation{issuer: testIssuer, jti: jti, until: until}); err != nil {
			t.Fatal(err)
		}
	}
	later.load(t.Context())
	if tokens, _ := later.sizes(); tokens != 2 || !later.known.Load() {
		t.Errorf("after a restart %d revoked tokens are known, want 2", tokens)
	}
}

func TestRevoke_Arguments(t *testing.T) {
	n := newNode(t, t.TempDir(), "", fileIssuer(t))
	defer n.stop(t)
	expired := sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(time.Now()), map[string]any{"exp": 1000}))
	noID := sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(time.Now()), map[string]any{"jti": nil}))
	for _, tc := range []struct {
		args any
		want string
	}{
		{map[string]any{}, "one of jti and sub is needed"},
		{map[string]any{"jti": "a", "sub": "b"}, "one of jti and sub is needed"},
		{map[string]any{"jti": "a", "exp": "soon"}, `invalid number literal`},
		{map[string]any{"jti": "a", "exp": 1.5}, `until "1.5" is not a time`},
		{map[string]any{"jti": "a", "exp": 1000}, "expired at 1000 already"},
		{map[string]any{"sub": "a", "not_before": -5}, `not_before "-5"`},
		{map[string]any{"iss": "https://typo.example", "jti": "a"}, `iss "https://typo.example" is no issuer of this gateway; it knows ["https://idp.example"]`},
		{map[string]any{"token": "x"}, "token is not a token"},
		{map[string]any{"token": expired}, "expired at 1001 already"},
		{map[string]any{"token": noID}, "has no jti"},
		{[]int{1}, "not a JSON object"},
	} {
		_, err := n.act(t, "revoke", tc.args)
		var mistake *gateway.ArgumentError
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want an argument error with %q", tc.args, err, tc.want)
		}
	}
	if _, err := n.act(t, "restore", nil); !errors.Is(err, gateway.ErrUnknownAction) {
		t.Errorf("restore: %v, want an unknown action", err)
	}
	token := sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now()))
	if _, err := n.act(t, "revoke", map[string]any{"token": token}); err != nil {
		t.Error(err)
	}
	if a := ask(n, request(token)); a.status != 401 {
		t.Errorf("revoked as a token: %d", a.status)
	}
}

// Two gateways and another service on one Redis.
func TestRevoke_ReachesEveryNodeThroughRedis(t *testing.T) {
	server := redistest.Start(t)
	block := fileIssuer(t)
	// Another database number would be another Redis; another timeout is only
	// another client, as in another process.
	a := newNode(t, t.TempDir(), redisApp(server.URL()), block)
	defer a.stop(t)
	b := newNode(t, t.TempDir(), fmt.Sprintf(`{"redis":{"url":%q,"timeout":"900ms"}}`, server.URL()), block)
	defer b.stop(t)
	eventually(t, "both have read the list", func() bool { return a.engine.store.known.Load() && b.engine.store.known.Load() })
	token := func(sub, jti string) string {
		return sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(time.Now()), map[string]any{"sub": sub, "jti": jti}))
	}
	one, other := token("u1", "j1"), token("u2", "j2")
	for _, n := range []node{a, b} {
		if ask(n, request(one)).status != 200 || ask(n, request(other)).status != 200 {
			t.Fatal("good tokens are refused")
		}
	}
	answer, err := a.act(t, "revoke", map[string]any{"jti": "j1"})
	if err != nil || answer["redis"] != true {
		t.Fatalf("revoke: %v, %v", answer, err)
	}
	start := time.Now()
	eventually(t, "the other node refuses", func() bool { return ask(b, request(one)).status == 401 })
	t.Logf("the other node learned of it after %v", time.Since(start))
	if ask(b, request(other)).status != 200 {
		t.Error("another token is refused, too")
	}

	// As docs/jwt_auth.md tells other services to do it.
	client := server.Client()
	until := time.Now().Add(time.Hour).Unix()
	member := fmt.Sprintf(`["sub",%q,"u2",%d]`, testIssuer, time.Now().Unix())
	if err := client.ZAdd(t.Context(), "fairway:jwt:revoked", redis.Z{Score: float64(until), Member: member}).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Publish(t.Context(), "fairway:jwt:revoked", fmt.Sprintf("%d %s", until, member)).Err(); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]node{"a": a, "b": b} {
		eventually(t, "node "+name+" refuses the subject", func() bool { return ask(n, request(other)).status == 401 })
	}

	// A node that starts later reads it all.
	c := newNode(t, t.TempDir(), fmt.Sprintf(`{"redis":{"url":%q,"timeout":"800ms"}}`, server.URL()), block)
	defer c.stop(t)
	eventually(t, "a later node refuses both", func() bool {
		return ask(c, request(one)).status == 401 && ask(c, request(other)).status == 401
	})
}

func TestRevoke_WhileRedisIsAwayIsGivenToItLater(t *testing.T) {
	server := redistest.Start(t)
	storage, block := t.TempDir(), fileIssuer(t)
	n := newNode(t, storage, redisApp(server.URL()), block)
	eventually(t, "the list was read", func() bool { return n.engine.store.known.Load() })
	if _, err := n.act(t, "revoke", map[string]any{"jti": "before"}); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	answer, err := n.act(t, "revoke", map[string]any{"jti": "token-1"})
	if err != nil || answer["redis"] != false {
		t.Fatalf("revoke without redis: %v, %v", answer, err)
	}
	token := sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now()))
	if a := ask(n, request(token)); a.status != 401 {
		t.Errorf("on this node: %d", a.status)
	}
	n.stop(t)

	n = newNode(t, storage, redisApp(server.URL()), block) // restarted, Redis still away
	defer n.stop(t)
	if a := ask(n, request(token)); a.status != 401 {
		t.Errorf("after a restart without redis: %d", a.status)
	}
	server.Restart()
	count := func() int64 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return server.Client().ZCard(ctx, revokedKey).Val()
	}
	eventually(t, "redis has both, though it lost its data", func() bool { return count() == 2 })
}

func TestRevoke_OnErrorDenyWaitsForTheList(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	block := fileIssuer(t) + "revocation_on_error deny"
	n := newNode(t, t.TempDir(), redisApp(server.URL()), block)
	defer n.stop(t)
	lax := newNode(t, t.TempDir(), redisApp(server.URL()), fileIssuer(t))
	defer lax.stop(t)
	token := sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now()))
	if a := ask(n, request(token)); a.status != 503 {
		t.Errorf("deny: %d, want 503", a.status)
	}
	if a := ask(lax, request(token)); a.status != 200 {
		t.Errorf("allow: %d, want 200", a.status)
	}
	server.Restart()
	eventually(t, "tokens pass", func() bool { return ask(n, request(token)).status == 200 })
	server.Kill()
	if a := ask(n, request(token)); a.status != 200 {
		t.Errorf("redis away again: %d, want 200: the list is known", a.status)
	}
}

func TestRevocationStore_IgnoresNonsenseInRedis(t *testing.T) {
	server := redistest.Start(t)
	n := newNode(t, t.TempDir(), redisApp(server.URL()), fileIssuer(t))
	defer n.stop(t)
	eventually(t, "the list was read", func() bool { return n.engine.store.known.Load() })
	client := server.Client()
	for _, bad := range []string{"", "x", `9999999999 ["jti"]`, strings.Repeat("x", 1<<20)} {
		if err := client.Publish(t.Context(), revokedKey, bad).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.act(t, "revoke", map[string]any{"jti": "token-1"}); err != nil {
		t.Fatal(err)
	}
	client.ZAdd(t.Context(), revokedKey, redis.Z{Score: 9999999999, Member: "nonsense"},
		redis.Z{Score: math.Inf(1), Member: revocation{issuer: testIssuer, jti: "for-ever"}.member()})
	n.engine.store.resync(t.Context())
	token := sign(t, "RS256", testKeys().rsa, nil, goodClaims(time.Now()))
	if a := ask(n, request(token)); a.status != 401 {
		t.Errorf("a revocation among nonsense: %d", a.status)
	}
	endless := sign(t, "RS256", testKeys().rsa, nil, with(goodClaims(time.Now()), map[string]any{"jti": "for-ever"}))
	if a := ask(n, request(endless)); a.status != 401 {
		t.Errorf("a revocation with the score +inf: %d", a.status)
	}
}

// A cutoff in nanoseconds, or of the largest number there is, must not overflow
// into one that lets all pass.
func TestRevocations_HugeCutoffRevokes(t *testing.T) {
	for _, before := range []int64{2_000_000_000, 2_000_000_000_000, 2_000_000_000_000_000_000, math.MaxInt64} {
		r := newRevocations()
		r.add(revocation{issuer: testIssuer, sub: "user-1", before: before, until: math.MaxInt64})
		claims := claimSet(appendMembers(nil, map[string]any{"sub": "user-1"}))
		c := &Caller{Identity: gateway.Identity{Issuer: testIssuer}, claims: claims, issuedAt: instantOf(time.Now())}
		if !r.revoked(c) {
			t.Errorf("not before %d: not revoked", before)
		}
	}
}

// lateStorage fails until it is up.
type lateStorage struct {
	certmagic.Storage
	up atomic.Bool
}

func (s *lateStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if !s.up.Load() {
		return nil, errors.New("down")
	}
	return s.Storage.Load(ctx, key)
}

func TestRevocationStore_ReadsStorageThatIsUpLate(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	saved := fmt.Sprintf(`[{"until":9999999999,"member":%q}]`, revocation{issuer: testIssuer, jti: "token-1"}.member())
	if err := files.Store(t.Context(), revokedFile, []byte(saved)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		storage := &lateStorage{Storage: files}
		s := &revocationStore{revocations: newRevocations(), storage: storage, logger: zap.NewNop()}
		s.start()
		if s.known.Load() {
			t.Error("known without having been read")
		}
		storage.up.Store(true)
		time.Sleep(revokedCheck + time.Second)
		synctest.Wait()
		if tokens, _ := s.sizes(); tokens != 1 || !s.known.Load() {
			t.Errorf("%d revoked tokens, known %v", tokens, s.known.Load())
		}
		if err := s.Destruct(); err != nil {
			t.Error(err)
		}
	})
}

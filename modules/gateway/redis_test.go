package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

func open(t *testing.T, url string) *Redis {
	t.Helper()
	settings, err := (&RedisConfig{URL: url}).resolve()
	if err != nil {
		t.Fatal(err)
	}
	r, err := openRedis(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.release(); err != nil {
			t.Errorf("release: %v", err)
		}
	})
	return r
}

func set(ctx context.Context, c redis.Cmdable) error { return c.Set(ctx, "k", "v", 0).Err() }

// eventually polls, so that a slow machine is slow and not wrong.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("it never came true that %s", what)
}

func TestRedis_KilledIsNotWaitedForAndHeals(t *testing.T) {
	server := redistest.Start(t)
	r := open(t, server.URL())
	eventually(t, "redis takes a write", func() bool { return r.Do(t.Context(), set) == nil })

	server.Kill()
	eventually(t, "redis counts as down", func() bool { return errors.Is(r.Do(t.Context(), set), ErrRedisDown) })
	called := false
	err := r.Do(t.Context(), func(context.Context, redis.Cmdable) error { called = true; return nil })
	if !errors.Is(err, ErrRedisDown) || called {
		t.Errorf("Do while down = %v (called: %t), want ErrRedisDown without a call", err, called)
	}

	server.Restart()
	eventually(t, "redis takes a write again", func() bool { return r.Do(t.Context(), set) == nil })
}

func TestRedis_FrozenServerHoldsNobodyForLong(t *testing.T) {
	server := redistest.Start(t)
	r := open(t, server.URL())
	eventually(t, "redis takes a write", func() bool { return r.Do(t.Context(), set) == nil })

	server.Pause()
	// Each call returns by itself: nothing here would end it but its timeout.
	eventually(t, "redis counts as down", func() bool { return errors.Is(r.Do(t.Context(), set), ErrRedisDown) })
	server.Resume()
	eventually(t, "redis takes a write again", func() bool { return r.Do(t.Context(), set) == nil })
}

func TestRedis_ErrorReplyIsNoOutage(t *testing.T) {
	r := open(t, redistest.Start(t).URL())
	eventually(t, "redis takes a write", func() bool { return r.Do(t.Context(), set) == nil })
	for range 3 * redisFailures {
		err := r.Do(t.Context(), func(ctx context.Context, c redis.Cmdable) error { return c.LPush(ctx, "k", 1).Err() })
		if err == nil || errors.Is(err, ErrRedisDown) {
			t.Fatalf("LPUSH on a string = %v, want the reply's error", err)
		}
	}
	if !r.Up() {
		t.Error("error replies count as an outage")
	}
}

func TestRedis_SubscriptionSaysWhenItMayHaveMissedSomething(t *testing.T) {
	server := redistest.Start(t)
	r := open(t, server.URL())
	var resyncs, messages atomic.Int32
	stop := r.Subscribe("news", func(payload string) {
		if payload == "hello" {
			messages.Add(1)
		}
	}, func() { resyncs.Add(1) })
	defer stop()
	heard := func() bool {
		before := messages.Load()
		_ = r.Client().Publish(t.Context(), "news", "hello").Err()
		time.Sleep(10 * time.Millisecond)
		return messages.Load() > before
	}
	eventually(t, "a message is heard", heard)

	before := resyncs.Load()
	server.Kill()
	server.Restart()
	eventually(t, "the subscription is renewed", func() bool { return resyncs.Load() > before })
	eventually(t, "a message is heard again", heard)
}

func TestRedis_SettingsAlikeShareAClientOverReloads(t *testing.T) {
	url := redistest.Start(t).URL()
	old := open(t, url)
	if fresh := open(t, url); fresh != old {
		t.Error("a reload with the same redis line opened a second client")
	}
	if other := open(t, url+"/1"); other == old {
		t.Error("another database shares the client")
	}
}

func TestParseRedisURL(t *testing.T) {
	for _, tc := range []struct {
		url, want string
	}{
		{"redis://h", "[h:6379] db=0 tls=false cluster=false master= user= pass="},
		{"redis://u:p%40ss@h:7000/3", "[h:7000] db=3 tls=false cluster=false master= user=u pass=p@ss"},
		{"redis://[::1]:6380", "[[::1]:6380] db=0 tls=false cluster=false master= user= pass="},
		{"redis://[::1]", "[[::1]:6379] db=0 tls=false cluster=false master= user= pass="},
		{"rediss://h:1", "[h:1] db=0 tls=true cluster=false master= user= pass="},
		{"redis+cluster://a,b:7001", "[a:6379 b:7001] db=0 tls=false cluster=true master= user= pass="},
		{"rediss+cluster://u:p@a,b", "[a:6379 b:6379] db=0 tls=true cluster=true master= user=u pass=p"},
		{"redis+sentinel://mymaster@a,b:2/1?password=x", "[a:26379 b:2] db=1 tls=false cluster=false master=mymaster user= pass=x"},
	} {
		o, _, err := parseRedisURL(tc.url)
		if err != nil {
			t.Errorf("parseRedisURL(%q): %v", tc.url, err)
			continue
		}
		got := fmt.Sprintf("%v db=%d tls=%t cluster=%t master=%s user=%s pass=%s",
			o.Addrs, o.DB, o.TLSConfig != nil, o.IsClusterMode, o.MasterName, o.Username, o.Password)
		if got != tc.want {
			t.Errorf("parseRedisURL(%q) = %s, want %s", tc.url, got, tc.want)
		}
	}
}

func TestParseRedisURL_RefusesWithoutRepeatingSecrets(t *testing.T) {
	for _, tc := range []struct {
		url, want string
	}{
		{"localhost:6379", "want redis://host:port, or off"},
		{"http://h", `unknown scheme "http": want redis, rediss, redis+cluster or redis+sentinel`},
		{"redis+ring://h", `unknown mode "ring": want cluster or sentinel`},
		{"redis://a,b", "several hosts need redis+cluster or redis+sentinel"},
		{"redis://", "a host is empty"},
		{"redis://h:70000", `port "70000" of host "h:70000": want 1 to 65535`},
		{"redis://h/x", `database "x": want a number`},
		{"redis+cluster://h/1", `database "1": a Cluster has database 0 only`},
		{"redis+sentinel://h", "the master's name is missing: redis+sentinel://master@host"},
		{"redis://h?passwrod=x", `unknown query parameter "passwrod"`},
		{"redis://u:s3cret%zz@h", "malformed user, path or query"},
		{"redis://:s3cret/s3cret@h", errUnescaped.Error()},
		{"redis://:s3cret?s3cret@h", errUnescaped.Error()},
		{"redis://:s3cret#s3cret@h", errUnescaped.Error()},
		{"redis+sentinel://master:s3cret@h", "a password in front of the host: with Sentinel write ?password=… or ?sentinel_password=…"},
		{"redis://h#x", "malformed user, path or query"},
	} {
		_, _, err := parseRedisURL(tc.url)
		if err == nil || err.Error() != tc.want {
			t.Errorf("parseRedisURL(%q) = %v, want %s", tc.url, err, tc.want)
		}
	}
}

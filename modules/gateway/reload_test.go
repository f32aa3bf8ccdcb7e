package gateway

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// loadApp runs a config whose fairway app is the given JSON.
func loadApp(app string) error {
	return caddy.Load(fmt.Appendf(nil, `{"admin":{"disabled":true},"apps":{"fairway":%s}}`, app), true)
}

func TestApp_ReloadsUnderLoadKeepTheClient(t *testing.T) {
	url := redistest.Start(t).URL()
	good := fmt.Sprintf(`{"redis":{"url":%q,"timeout":"2s"}}`, url)
	if err := loadApp(good); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	client := Active().Redis()
	eventually(t, "redis takes a write", func() bool { return client.Do(t.Context(), set) == nil })

	var stop atomic.Bool
	var calls, failures atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for !stop.Load() {
				if err := Active().Redis().Do(t.Context(), set); err != nil {
					failures.Add(1)
					t.Log(err)
				}
				calls.Add(1)
			}
		})
	}
	for i := range 5 {
		if err := loadApp(good); err != nil {
			t.Fatalf("reload %d: %v", i, err)
		}
		err := loadApp(`{"redis":{"url":"redis://h:0"}}`)
		if err == nil || !strings.Contains(err.Error(), `port "0" of host "h:0"`) {
			t.Fatalf("a wrong URL is not refused: %v", err)
		}
		if Active().Redis() != client {
			t.Fatalf("reload %d changed the client", i)
		}
	}
	stop.Store(true)
	load.Wait()
	if failures.Load() > 0 || calls.Load() == 0 {
		t.Errorf("%d of %d calls failed", failures.Load(), calls.Load())
	}
	if n, _ := redisPool.References(client.settings.key); n != 1 {
		t.Errorf("the client is held %d times after the reloads, want once", n)
	}
}

func TestApp_ConfigLoadsWithoutRedis(t *testing.T) {
	if err := loadApp(`{"redis":{"url":"redis://127.0.0.1:1"}}`); err != nil {
		t.Fatalf("a config with an unreachable Redis does not load: %v", err)
	}
	client := Active().Redis()
	eventually(t, "redis counts as down", func() bool { return !client.Up() })
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
	if n, held := redisPool.References(client.settings.key); held {
		t.Errorf("the client is still held %d times", n)
	}
}

package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestApp_UnmarshalCaddyfile(t *testing.T) {
	d := caddyfile.NewTestDispenser(`fairway {
		redis rediss://r.example/2 {
			timeout 50ms
			pool_size 7
			tls_ca /etc/ca.pem
		}
		allow_faults
	}`)
	var app App
	if err := app.UnmarshalCaddyfile(d); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(&app)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"redis":{"url":"rediss://r.example/2","timeout":50000000,"pool_size":7,"tls_ca":"/etc/ca.pem"},"allow_faults":true}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestApp_UnmarshalCaddyfileRefuses(t *testing.T) {
	for _, tc := range []struct{ block, want string }{
		{"redis", "wrong argument count"},
		{`redis ""`, `the URL is empty; write "off" for none`},
		{"redis a b", "wrong argument count"},
		{"redis a\nredis b", "redis is given twice"},
		{"redis a {\ntimeout fast\n}", `timeout "fast"`},
		{"redis a {\npool_size 0\n}", `pool_size "0": want a whole number above 0`},
		{"redis a {\nretries 3\n}", `unknown option "retries"`},
		{"allow_faults yes", "wrong argument count"},
		{"rediss a", `unknown option "rediss"`},
	} {
		err := new(App).UnmarshalCaddyfile(caddyfile.NewTestDispenser("fairway {\n" + tc.block + "\n}"))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: got %v, want an error with %q", tc.block, err, tc.want)
		}
	}
}

func TestRedisConfig_ResolveRefuses(t *testing.T) {
	t.Setenv("EMPTY_URL", "")
	for _, tc := range []struct {
		config RedisConfig
		want   string
	}{
		{RedisConfig{URL: "{env.EMPTY_URL}"}, "url: evaluated placeholder"},
		{RedisConfig{URL: "redis://:s3cret@h:0"}, `url "redis://…": port "0" of host "h:0"`},
		{RedisConfig{URL: "u:s3cret@h"}, `url "…": want redis://`},
		{RedisConfig{URL: "redis://h?password=s3cret&x=1"}, `url "redis://…": unknown query parameter "x"`},
		{RedisConfig{URL: "redis://h", Timeout: -1}, "timeout must be positive"},
		{RedisConfig{URL: "redis://h", PoolSize: -2}, "pool_size must be positive, got -2"},
		{RedisConfig{URL: "redis://h", TLSCA: "ca.pem"}, `tls_ca "ca.pem" goes with a rediss URL only`},
		{RedisConfig{URL: "rediss://h", TLSCA: "/nowhere/ca.pem"}, "/nowhere/ca.pem"},
	} {
		_, err := tc.config.resolve()
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: got %v, want an error with %q", tc.config, err, tc.want)
		}
	}
}

func TestRedisConfig_OffMeansNone(t *testing.T) {
	settings, err := (&RedisConfig{URL: "off"}).resolve()
	if settings != nil || err != nil {
		t.Errorf("resolve of off = %v, %v, want nothing", settings, err)
	}
}

type part struct{ kind, name string }

func (p part) Kind() string  { return p.kind }
func (p part) Name() string  { return p.name }
func (p part) Snapshot() any { return nil }

func TestApp_RegisterOrdersAndRefusesRepeats(t *testing.T) {
	var app App
	for _, p := range []part{{"b", "1"}, {"a", "2"}, {"a", "1"}} {
		if err := app.Register(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Register(part{"a", "2"}); err == nil {
		t.Error("a second part of the same kind and name was accepted")
	}
	var got []string
	for _, p := range app.Parts() {
		got = append(got, p.Kind()+p.Name())
	}
	if strings.Join(got, " ") != "a1 a2 b1" {
		t.Errorf("parts are in the order %v", got)
	}
}

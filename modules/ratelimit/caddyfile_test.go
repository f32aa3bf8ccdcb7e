package ratelimit

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestCaddyfile_EveryOptionReachesJSON(t *testing.T) {
	h := new(Handler)
	err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`rate_limit {
		zone a {
			key {http.request.header.X}:{http.request.uri}
			on_empty skip
			ipv4_prefix 24
			ipv6_prefix 64
			events 5
			window 15m
			rate 100/1d
			concurrent 7
			cost {http.request.header.Cost}
			count_if status 401 5xx
			ban 10m after 20 denials in 1m
			mode shadow
			slots 60
			lease 10
			on_error deny
			max_keys 5000
			on_full deny
		}
		zone b {
			tier {http.auth.user.plan} {
				pro 1000/1m 50000/1d
				* 100/15m
			}
			algorithm gcra
			lease off
		}
		headers legacy
		jitter 0.2
		sweep_interval 30s
		log_key
		disable_metrics
		distributed {
			read_interval 1s
			write_interval 2s
			purge_age 3s
		}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"rate_limits":{"a":{"key":"{http.request.header.X}:{http.request.uri}","on_empty":"skip","ipv4_prefix":24,"ipv6_prefix":64,` +
		`"events":5,"window":900000000000,"rate":[{"events":100,"window":86400000000000}],"concurrent":7,"cost":"{http.request.header.Cost}",` +
		`"count_if":{"status":[401,5]},"ban":{"duration":600000000000,"denials":20,"within":60000000000},"mode":"shadow","slots":60,` +
		`"lease":"10","on_error":"deny","max_keys":5000,"on_full":"deny"},` +
		`"b":{"tier":{"value":"{http.auth.user.plan}","rates":{"*":[{"events":100,"window":900000000000}],` +
		`"pro":[{"events":1000,"window":60000000000},{"events":50000,"window":86400000000000}]}},"algorithm":"gcra","lease":"off"}},` +
		`"headers":"legacy","jitter":0.2,"sweep_interval":30000000000,"log_key":true,"disable_metrics":true,` +
		`"distributed":{"write_interval":2000000000,"read_interval":1000000000,"purge_age":3000000000}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	back := new(Handler)
	if err := strictUnmarshal(got, back); err != nil {
		t.Errorf("its own JSON is refused: %v", err)
	}
}

func TestCaddyfile_Refuses(t *testing.T) {
	for _, tc := range []struct{ zone, want string }{
		{"", "no limit: give events and window, rate, tier or concurrent"},
		{"concurrent -1", "concurrent must be 0 to 1000000000, got -1"},
		{"events 5", "events 5: window is missing"},
		{"window 5m", "window 5m: events is missing"},
		{"events five\nwindow 1m", `events "five": want a whole number`},
		{"events -1\nwindow 1m", "events must be 0 to 1000000000, got -1"},
		{"events 5\nwindow 0s", "window must be positive, got 0s"},
		{"events 5\nwindow soon", `window "soon"`},
		{"rate 5", `rate "5": want events/window`},
		{"rate 5/1m 6/1m", "rate: 5/1m and 6/1m have the same window"},
		{"events 5\nwindow 60s\nrate 7/1h 6/1m", "rate: 5/1m and 6/1m have the same window"},
		{"tier {http.auth.user.plan} {\npro 5/1m 6/60s\n* 1/1m\n}", `tier "pro": 5/1m and 6/1m have the same window`},
		{"rate 1/1s 1/2s 1/3s 1/4s 1/5s", "at most 4 windows can limit one key, got 5"},
		{"rate 5/1m\nrate 6/1h", "rate is given twice"},
		{"rate 5/1m\ntier plan {\npro 5/1m\n}", `tier "plan": want a placeholder`},
		{"tier {x} {\npro 5/1m\n}", `without a tier "*"`},
		{"rate 5/1m\ntier {x} {\n* 5/1m\n}", `tier "*": the zone's own rates`},
		{"rate 5/1m\nslots 0x", `slots "0x"`},
		{"rate 5/1m\nslots 121", "slots must be 1 to 120, got 121"},
		{"rate 5/1m\nalgorithm gcra\nslots 5", "slots 5: algorithm gcra has none"},
		{"rate 5/1m\nalgorithm token", `algorithm "token": want sliding, gcra`},
		{"rate 5/1m\nalgorithm gcra\nlease 5", `lease "5": algorithm gcra has no leases`},
		{"rate 500000/1s\nalgorithm gcra", "above one event in 10µs"},
		{"rate 5/1m\nlease some", `lease "some": want auto, off or a number`},
		{"rate 5/1m\non_error retry", `on_error "retry": want local, allow, deny`},
		{"rate 5/1m\non_empty no", `on_empty "no": want deny, skip, share`},
		{"rate 5/1m\nmode dry", `mode "dry": want enforce, shadow`},
		{"rate 5/1m\ncost -1", `cost "-1"`},
		{"rate 5/1m\ncost 6", `cost 6: above rate 5/1m`},
		{"rate 5/1m\ncount_if 401", "count_if: want count_if status"},
		{"rate 5/1m\ncount_if status 4x", `count_if: status "4x"`},
		{"rate 5/1m\ncount_if status 700", "count_if: status 700"},
		{"rate 5/1m\nban 10m", "ban: want ban <duration> after"},
		{"rate 5/1m\nban 10m after 0 denials in 1m", "ban: denials must be 1 to"},
		{"rate 5/1m\nipv4_prefix 33", "ipv4_prefix must be 0 to 32, got 33"},
		{"rate 5/1m\nipv6_prefix 129", "ipv6_prefix must be 0 to 128, got 129"},
		{"rate 5/1m\nmax_keys 5", "max_keys must be 1024 to"},
		{"rate 5/1m\non_full drop", `on_full "drop": want carry, deny`},
		{"rate 5/1m\nkey {client_ip", "is not closed"},
		{"rate 5/1m\nmatch {\n}", "match: no matcher"},
		{"rate 5/1m\nevent 5", `unknown option "event"`},
	} {
		h := new(Handler)
		err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("rate_limit {\nzone z {\n" + tc.zone + "\n}\n}"))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: got %v, want an error with %q", tc.zone, err, tc.want)
		}
	}
	for _, tc := range []struct{ block, want string }{
		{"rate_limit 5", "wrong argument count"},
		{"rate_limit {\nzones x\n}", `unknown option "zones"`},
		{"rate_limit {\nheaders none\nzone z {\nrate 1/1m\n}\n}", `headers "none": want draft, legacy, off`},
		{"rate_limit {\njitter much\n}", `jitter "much"`},
		{"rate_limit {\nlog_key\nlog_key\n}", "log_key is given twice"},
		{"rate_limit {\nzone z {\nrate 1/1m\n}\nzone z {\nrate 1/1m\n}\n}", `zone "z" is given twice`},
		{"rate_limit {\ndistributed {\nsync 5s\n}\n}", `distributed: unknown option "sync"`},
		{"rate_limit {\n}", "no zone"},
	} {
		_, err := newNode(t, "").load(tc.block)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: got %v, want an error with %q", tc.block, err, tc.want)
		}
	}
}

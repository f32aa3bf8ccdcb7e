package resilience

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// adaptSite adapts a site with the given directives.
func adaptSite(site string) ([]byte, error) {
	return adapt("{\nadmin off\n}\n:8080 {\nroute {\n" + site + "\n}\n}")
}

// check adapts a site and provisions it, as `fairway validate` does.
func check(site string) error {
	config, err := adaptSite(site)
	if err != nil {
		return err
	}
	var c caddy.Config
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	return caddy.Validate(&c)
}

func inTransport(options string) string {
	return "reverse_proxy 127.0.0.1:1 {\ntransport resilient {\n" + options + "\n}\n}"
}

func inPolicy(options string) string {
	return "reverse_proxy 127.0.0.1:1 {\nlb_policy resilient {\n" + options + "\n}\ntransport resilient\n}"
}

func inHandler(options string) string { return "resilience {\n" + options + "\n}" }

func TestConfig_MistakesNameFieldAndValue(t *testing.T) {
	for site, want := range map[string]string{
		"resilience {\nbreaker 5 failures\n}":                             `breaker needs a name`,
		"resilience {\nname x\nfail_on 5xx\n}":                            `fail_on means something only with a breaker`,
		"resilience {\nname x\nbreaker 5 failures\nfail_on 6xx\n}":        `fail_on: "6xx" is neither`,
		"resilience {\nname x\nbreaker 5 failures ramp 3s\n}":             `ramp (3s) is for upstreams`,
		"resilience {\nname {path}\n}":                                    `name must be without placeholders, got "{http.request.uri.path}"`,
		"resilience {\nname x\nname y\n}":                                 `name is given twice`,
		"resilience {\nname x\nbulkhead 5\n}\nresilience {\nname x\n}":    `two of the name "route:x" share breakers but differ`,
		inTransport("braker off"):                                         `unknown option "braker"`,
		inTransport("try_timeout soon"):                                   `try_timeout: "soon" is not a duration`,
		inTransport("try_timeout -1s"):                                    `try_timeout: "-1s" must be above zero`,
		inTransport("try_timeout 1s\ntry_timeout 1s"):                     `try_timeout is given twice`,
		inTransport("breaker"):                                            `ount`,
		inTransport("breaker 5"):                                          `write the number of failures in a row as in "5 failures", got "5"`,
		inTransport("breaker 0 failures"):                                 `got "0"`,
		inTransport("breaker many failures"):                              `breaker: unknown word "many"`,
		inTransport("breaker error_rate 50"):                              `error_rate: "50" is not a percentage`,
		inTransport("breaker error_rate 101%"):                            `"101%" is not a percentage from 0% to 100%`,
		inTransport("breaker error_rate NaN%"):                            `"NaN%" is not a percentage`,
		inTransport("breaker 5 failures min 20"):                          `min and window mean something only with error_rate or slow`,
		inTransport("breaker slow 50%"):                                   `slow and over go together, got slow 50% over 0s`,
		inTransport("breaker error_rate 50% window 1ms"):                  `window must be at least 100ms, got 1ms`,
		inTransport("breaker 5 failures probes 1000000"):                  `probes must be from 1 to 100000, got 1000000`,
		inTransport("breaker 5 failures open 1s open 2s"):                 `open is given twice`,
		inTransport("breaker off open 1s"):                                `off goes with nothing else`,
		inTransport("breaker 5 failures open"):                            `open has no value`,
		inTransport("retry"):                                              `ount`,
		inTransport("retry many"):                                         `retry: "many" is not a positive number`,
		inTransport("retry 11"):                                           `max must be from 1 to 10, got 11`,
		inTransport("retry off on 503"):                                   `off goes with nothing else`,
		inTransport("retry 1 on"):                                         `on has no value`,
		inTransport("retry 1 on teapot"):                                  `retry: on: "teapot" is neither`,
		inTransport("retry 1 budget 20"):                                  `budget: "20" is not a percentage`,
		inTransport("retry 1 often"):                                      `retry: unknown word "often"`,
		inTransport("retry 1 {\nbackoff soon\n}"):                         `backoff: "soon" is not a duration`,
		inTransport("retry 1 {\nmethods post\n}"):                         `methods must be in capitals, got "post"`,
		inTransport("retry 1 {\nbuffer 1GiB\n}"):                          `buffer: "1GiB" is not a size from 1B to 16MiB`,
		inTransport("retry 1 {\njitter\n}"):                               `retry: unknown option "jitter"`,
		inTransport("hedge soon"):                                         `"soon" is neither a duration such as 50ms nor a percentile such as p95`,
		inTransport("hedge p100"):                                         `"p100" is not a percentile`,
		inTransport("hedge p95 max 9"):                                    `hedge: max must be from 1 to 5, got 9`,
		inTransport("adaptive_limit 5"):                                   `ount`,
		inTransport("adaptive_limit 50 5"):                                `in this order, got 50 and 5`,
		inTransport("adaptive_limit 5 50\nbulkhead 5"):                    `are alternatives`,
		inTransport("bulkhead 5 wait 1s"):                                 `wait means something only with a queue`,
		inTransport("fault {\nabort 503 10%\n}"):                          `fault is refused without the global option`,
		inTransport("fault {\nabort 99 10%\n}"):                           `abort must be a status from 200 to 599, got 99`,
		inTransport("fault {\ndelay 1s\n}"):                               `ount`,
		inTransport("fault {\ncrash\n}"):                                  `fault: unknown option "crash"`,
		inTransport("fault"):                                              `needs abort or delay`,
		inTransport("idle_timeout 0"):                                     `idle_timeout: "0" must be above zero`,
		inTransport("deadline_header \"a b\""):                            `deadline_header must be a header's name, got "a b"`,
		inHandler("priority"):                                             `ount`,
		inHandler("priority plan {\nhigh pro\n}"):                         `must hold a placeholder such as {http.auth.user.plan}, got "plan"`,
		inHandler("priority {path}"):                                      `has no values that are high or low`,
		inHandler("priority {path} {\nhigh a\nlow a\n}"):                  `"a" is high and low`,
		inHandler("priority {path} {\nurgent a\n}"):                       `"urgent" is neither "high" nor "low"`,
		inHandler("fallback upstream"):                                    `upstream goes with an address`,
		inHandler("fallback upstream http://x/y"):                         `upstream "http://x/y" is neither host:port nor https://host[:port]`,
		inTransport("fail_on teapot"):                                     `"teapot" is neither a status such as 503, a class such as 5xx, "timeout" or "error"`,
		inTransport("name {http.request.host}"):                           `name must be without placeholders`,
		inTransport("http {\nno_such 1\n}"):                               `no_such`,
		inTransport("breaker off") + "\n" + inTransport("try_timeout 1s"): `two of the name "default" share breakers but differ`,
		inPolicy("policy resilient"):                                      `policy must be another than "resilient"`,
		inPolicy("policy no_such"):                                        `no_such`,
		inPolicy("max_ejection half"):                                     `max_ejection: "half" is not a percentage`,
		inPolicy("eject 1"):                                               `unknown option "eject"`,
		inHandler("timeout 0s"):                                           `timeout: "0s" must be above zero`,
		inHandler("bulkhead many"):                                        `bulkhead: "many" is not a positive number`,
		inHandler("bulkhead 1 que 2"):                                     `bulkhead: unknown word "que"`,
		inHandler("bulkhead 1 wait 1s"):                                   `wait means something only with a queue`,
		inHandler("fallback"):                                             `ount`,
		inHandler("fallback panic"):                                       `must be "stale", "respond" or "upstream", got "panic"`,
		inHandler("fallback stale 503"):                                   `unexpected "503"`,
		inHandler("fallback respond 700 x"):                               `status must be from 200 to 599, got 700`,
		inHandler("fallback respond 200"):                                 `status 200 needs a body`,
		inHandler("fallback respond 503 a b c"):                           `unexpected "c"`,
		inHandler("retries 3"):                                            `unknown option "retries"`,
	} {
		if err := check(site); err == nil {
			t.Errorf("accepted:\n%s", site)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nerror: %v\nwant:  %s", site, err, want)
		}
	}
}

func TestConfig_TwoTransportsWithTheSameSettingsShare(t *testing.T) {
	if err := check(inTransport("breaker 3 failures") + "\n" + inTransport("breaker 3 failures\ntry_timeout 1s")); err != nil {
		t.Error(err)
	}
	if err := check(inTransport("name a\nbreaker off") + "\n" + inTransport("name b")); err != nil {
		t.Error(err)
	}
}

func TestConfig_MistakesInJSON(t *testing.T) {
	for transport, want := range map[string]string{
		`{"protocol":"resilient","breaker":{"error_rate":0.5}}`:        `0.5 is not a percentage such as \"50%\"`,
		`{"protocol":"resilient","breaker":{"failures":-1}}`:           `failures must be from 1 to 100000, got -1`,
		`{"protocol":"resilient","breaker":{"open":"-1s"}}`:            `open must be positive, got -1s`,
		`{"protocol":"resilient","try_timeout":-1}`:                    `try_timeout must be positive`,
		`{"protocol":"resilient","fail_on":["9xx"]}`:                   `9xx`,
		`{"protocol":"resilient","breaker":{"off":true,"failures":1}}`: `off goes with nothing else`,
		`{"protocol":"resilient","no_such_field":1}`:                   `no_such_field`,
	} {
		var c caddy.Config
		err := json.Unmarshal([]byte(`{"admin":{"disabled":true},"apps":{"http":{"servers":{"s":{"listen":[":8080"],"routes":[
			{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:1"}],"transport":`+transport+`}]}]}}}}}`), &c)
		if err == nil {
			err = caddy.Validate(&c)
		}
		if err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), strings.ReplaceAll(want, `\"`, `"`)) {
			t.Errorf("%s\nerror: %v\nwant:  %s", transport, err, want)
		}
	}
}

// Every option makes it into the JSON under its own name.
func TestConfig_CaddyfileAndJSONSayTheSame(t *testing.T) {
	got, err := adaptSite(`resilience {
		name orders
		breaker 9 failures open 5s
		fail_on 503 timeout
		timeout 5s
		bulkhead 200 queue 50 wait 100ms
		fallback stale
		fallback respond 503 "sorry" text/html
	}
	reverse_proxy 127.0.0.1:1 {
		lb_policy resilient {
			policy least_conn
			max_ejection 50%
		}
		transport resilient {
			name api
			try_timeout 1s
			breaker error_rate 50% slow 40% over 2s min 20 window 10s open 15s probes 3
			fail_on 5xx timeout
			http {
				dial_timeout 500ms
			}
		}
	}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"breaker":{"failures":9,"open":5000000000},"bulkhead":{"max":200,"queue":50,"wait":100000000},"fail_on":["503","timeout"],"fallback":[{"kind":"stale"},{"body":"sorry","content_type":"text/html","kind":"respond","status":503}],"handler":"resilience","name":"orders","timeout":5000000000}`,
		`"selection_policy":{"inner":{"policy":"least_conn"},"max_ejection":"50%","policy":"resilient"}`,
		`"transport":{"breaker":{"error_rate":"50%","min":20,"open":15000000000,"over":2000000000,"probes":3,"slow":"40%","window":10000000000},"fail_on":["5xx","timeout"],"http":{"dial_timeout":500000000},"name":"api","protocol":"resilient","try_timeout":1000000000}`,
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the JSON lacks\n%s\nin\n%s", want, got)
		}
	}
}

// The page in docs/ shows only Caddyfiles that lie in testdata, and all of
// those load.
func TestDocs_EveryCaddyfileLoads(t *testing.T) {
	page, err := os.ReadFile("../../docs/resilience.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no example files: %v", err)
	}
	shown := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(shown) != len(files) {
		t.Errorf("the page shows %d Caddyfiles, testdata has %d", len(shown), len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "```caddyfile\n"+string(text)+"```") {
			t.Errorf("the page does not show %s", file)
		}
		options, sites := "{\nadmin off\n", string(text)
		if rest, found := strings.CutPrefix(sites, "{\n"); found {
			sites = rest
		} else {
			options += "}\n"
		}
		config, err := adapt(options + sites)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var c caddy.Config
		if err := json.Unmarshal(config, &c); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(&c); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

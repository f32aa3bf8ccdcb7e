package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// logConfig is the pipeline of docs/traces.md with the access log as
// docs/access_log.md wants it for production.
func logConfig(t testing.TB) string {
	t.Helper()
	config := tracesConfig(t)
	for old, with := range map[string]string{
		"\tlog\n": `	log {
		output stdout
		format filter {
			wrap json
			request>uri query {
				replace access_token REDACTED
				replace token REDACTED
			}
			request>headers delete
			resp_headers delete
			request>remote_port delete
		}
	}
	log_append user_agent {header.User-Agent}
	log_append upstream {http.reverse_proxy.upstream.hostport}
`,
		"rate 1000/15m": "rate 2/15m",
	} {
		if strings.Count(config, old) != 1 {
			t.Fatalf("%q is not in the config once", old)
		}
		config = strings.Replace(config, old, with, 1)
	}
	return config
}

// accessLine waits for the log line of a request with this id.
func accessLine(t *testing.T, g *gateway, id string) (line string, fields map[string]any) {
	t.Helper()
	eventually(t, "the log line of "+id, func() error {
		for text := range strings.Lines(g.Log()) {
			if strings.Contains(text, `"handled request"`) && strings.Contains(text, id) {
				line = strings.TrimSpace(text)
				return json.Unmarshal([]byte(line), &fields)
			}
		}
		return fmt.Errorf("none")
	})
	return line, fields
}

// One line for each request says all that an operator asks: who, what, how it
// ended, what each module decided. docs/access_log.md shows the line as it is.
func TestAccessLog_OneLineSaysEverything(t *testing.T) {
	c, failing, good := startCollector(t), startTracedUpstream(t, 503, 0), startTracedUpstream(t, 200, 0)
	g := startGateway(t, logConfig(t), slices.Concat(c.env(), []string{
		"KEY=" + tracesKey, "UPSTREAM_A=" + failing.addr, "UPSTREAM_B=" + good.addr,
	})...)
	const trace = "0af7651916cd43dd8448eb211c80319c"
	send := func(query string, status int) answer {
		t.Helper()
		return get(g.url+"/api/reports?"+query).as(tracesToken(t)).with("User-Agent", "curl/8.9").
			with("Traceparent", "00-"+trace+"-b7ad6b7169203331-01").send(t).want(t, status)
	}
	a := send("days=7&access_token=planted-in-query", http.StatusOK)
	line, fields := accessLine(t, g, a.header.Get("X-Request-Id"))
	for name, want := range map[string]any{
		"status": 200.0, "user_id": "ada", "size": 6.0, "user_agent": "curl/8.9", "cache_status": "miss", "traceID": trace,
		"upstream": good.addr, "upstream_attempts": 2.0, "breaker": "closed", "request_id": a.header.Get("X-Request-Id"),
	} {
		if fields[name] != want {
			t.Errorf("%s is %v, want %v", name, fields[name], want)
		}
	}
	shown := line
	for _, r := range [][2]string{
		{regexp.QuoteMeta(good.addr), `10.0.0.2:8081`},
		{`127\.0\.0\.1`, `192.0.2.1`},
		{`"host":"[^"]+"`, `"host":"api.example.com"`},
		{`"ts":[0-9.]+`, `"ts":1795391999.120`},
		{`"duration":[0-9.e-]+`, `"duration":0.0182`},
		{`"spanID":"[0-9a-f]+"`, `"spanID":"00f067aa0ba902b7"`},
		{`"request_id":"[0-9a-f-]+"`, `"request_id":"01a2051b-488d-78d3-ac1f-0adf0d8fb146"`},
		{`"logger":"[^"]+"`, `"logger":"http.log.access"`},
	} {
		shown = regexp.MustCompile(r[0]).ReplaceAllString(shown, r[1])
	}
	wantOnPage(t, "access_log.md", "```\n"+shown+"\n```")

	send("days=7&n=2", http.StatusOK)
	a = send("days=7&n=3", http.StatusTooManyRequests)
	_, fields = accessLine(t, g, a.header.Get("X-Request-Id"))
	if fields["status"] != 429.0 || fields["rate_limit_zone"] != "users" || fields["error_code"] != "too_many_requests" {
		t.Errorf("a refusal's line: %v", fields)
	}
	if err := g.Stop(stopGrace); err != nil {
		t.Error(err)
	}
	if n := strings.Count(g.Log(), `"handled request"`); n != 3 {
		t.Errorf("%d lines for 3 requests", n)
	}
	if strings.Contains(g.Log(), "planted-in-query") || strings.Contains(g.Log(), tracesToken(t)) {
		t.Errorf("the log shows a secret:\n%s", g.LogTail(20))
	}
}

// log_sample leaves successes out, and nothing else.
func TestAccessLog_SamplesSuccesses(t *testing.T) {
	o := startOrigin(t)
	t.Setenv("ORIGIN", o.addr)
	g := startGateway(t, `
{
	admin {$FAIRWAY_ADMIN}
}
{$FAIRWAY_LISTEN} {
	log
	log_sample 0%
	request_id
	route {
		reverse_proxy /good* {$ORIGIN}
		respond /bad 502
		error 404
	}
	handle_errors {
		problem
	}
}
`)
	for range 20 {
		get(g.url+"/good").send(t).want(t, http.StatusOK)
	}
	get(g.url+"/bad").send(t).want(t, http.StatusBadGateway)
	get(g.url+"/lost").send(t).want(t, http.StatusNotFound)
	if err := g.Stop(stopGrace); err != nil {
		t.Error(err)
	}
	log := g.Log()
	if strings.Contains(log, `"uri":"/good"`) || !strings.Contains(log, `"uri":"/bad"`) || !strings.Contains(log, `"uri":"/lost"`) {
		t.Errorf("want the two failures only:\n%s", g.LogTail(30))
	}
}

// What clients write cannot end a log line, begin another, or add a field: each
// request has its one line, which is JSON, whatever is in its path and headers.
func TestAccessLog_ClientsCannotForgeLines(t *testing.T) {
	g := startGateway(t, `
{
	admin {$FAIRWAY_ADMIN}
}
{$FAIRWAY_LISTEN} {
	log
	log_append user_agent {header.User-Agent}
	log_append path {path}
	request_id
	respond ok
}
`)
	const forged = `","status":200,"request_id":"forged"}`
	addr := strings.TrimPrefix(g.url, "http://")
	send := func(path, name, value string) int {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\nConnection: close\r\n\r\n", path, addr, name, value)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%q %s %.100q: %v", path, name, value, err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	logged := 0
	for _, value := range []string{
		forged, "a\tb\\n" + forged, "\xff\xfe\x80", "\u2028{\"level\":\"info\"}\u0085", "{env.HOME}{http.request.host}", strings.Repeat("\"", 10_000),
	} {
		for _, name := range []string{"User-Agent", "Referer", "X-Forwarded-For", "X-Request-ID"} {
			if status := send("/x?%0d%0a"+"%22%7d&%00", name, value); status != http.StatusOK {
				t.Errorf("%s %.100q: status %d", name, value, status)
			}
			logged++
		}
	}
	for _, path := range []string{"/%0d%0a" + `{%22level%22:%22info%22}`, "/%00%1b[31m%08", "/%ff%fe", "/%e2%80%a8"} {
		if status := send(path, "Accept", "*/*"); status != http.StatusOK {
			t.Errorf("%q: status %d", path, status)
		}
		logged++
	}
	// Control bytes in a header are refused before anything is logged.
	for _, value := range []string{"a\x00b", "a\x1b[31mb", "a\rb", "a\x7fb"} {
		if status := send("/refused", "User-Agent", value); status != http.StatusBadRequest {
			t.Errorf("User-Agent %q: status %d, want 400", value, status)
		}
	}
	if err := g.Stop(stopGrace); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(g.Log()) {
		if !strings.Contains(line, `"handled request"`) {
			continue
		}
		logged--
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%v in %.300s", err, line)
		}
		if id, _ := entry["request_id"].(string); len(id) != 36 || strings.Count(line, `"request_id":"`) != 1 {
			t.Errorf("not one request id in %.300s", line)
		}
	}
	if !strings.Contains(g.Log(), `"user_agent":"{env.HOME}{http.request.host}"`) {
		t.Error("a placeholder in a header is replaced in the log")
	}
	if logged != 0 {
		t.Errorf("%d lines are missing or too many", logged)
	}
}

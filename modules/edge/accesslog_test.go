package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// The access log as docs/access_log.md has it: one line for each request, with
// what an operator looks for and nothing that is secret.
func TestAccessLog_SaysWhatHappenedAndNoSecret(t *testing.T) {
	logs, address := t.TempDir(), startDocumented(t)
	t.Setenv("LOGS", logs)
	if err := caddy.Load(adaptFile(t, "testdata/access_log/redacted.Caddyfile"), true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, target := range []string{
		"/ok?q=1&access_token=planted-token&api_key=planted-key",
		"/lost?code=planted-code",
		"/down?access_token=planted-token",
	} {
		request(t, "http://"+address+target)
	}
	lines := waitForLines(t, filepath.Join(logs, "access.log"), 3)
	for i, want := range []map[string]any{
		{"status": 200.0, "uri": "/ok?access_token=REDACTED&api_key=REDACTED&q=1", "error_code": nil},
		{"status": 404.0, "uri": "/lost?code=REDACTED", "error_code": "not_found"},
		{"status": 502.0, "uri": "/down?access_token=REDACTED", "error_code": "bad_gateway"},
	} {
		checkLine(t, lines[i], want)
	}
	failures := waitForLines(t, filepath.Join(logs, "errors.log"), 1)
	if len(failures) != 1 || !strings.Contains(fmt.Sprint(failures[0]["error"]), "127.0.0.1:1") || failures[0]["request_id"] != lines[2]["request_id"] {
		t.Errorf("errors.log: %v", failures)
	}
	for _, name := range []string{"access.log", "errors.log", "default.log"} {
		text, err := os.ReadFile(filepath.Join(logs, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "planted") {
			t.Errorf("%s holds a secret:\n%s", name, text)
		}
	}
}

// The line that the page shows has the members that a real one has.
func checkLine(t *testing.T, line, want map[string]any) {
	t.Helper()
	req, _ := line["request"].(map[string]any)
	if line["status"] != want["status"] || req["uri"] != want["uri"] || line["error_code"] != want["error_code"] {
		t.Errorf("status %v, uri %v, error_code %v; want %v", line["status"], req["uri"], line["error_code"], want)
	}
	if id, _ := line["request_id"].(string); !uuid7.MatchString(id) {
		t.Errorf("request_id %q", id)
	}
	page, err := os.ReadFile("../../docs/access_log.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	text, _, _ := strings.Cut(rest, "```")
	var shown map[string]any
	if err := json.Unmarshal([]byte(text), &shown); err != nil {
		t.Fatalf("the line in the page: %v", err)
	}
	for _, pair := range [][2]map[string]any{{shown, line}, {shown["request"].(map[string]any), req}} {
		for name := range pair[0] {
			if _, ok := pair[1][name]; !ok && name != "error_code" {
				t.Errorf("the page shows %q, which a line does not have: %v", name, pair[1])
			}
		}
		for name := range pair[1] {
			if _, ok := pair[0][name]; !ok {
				t.Errorf("a line has %q, which the page does not show", name)
			}
		}
	}
}

// startDocumented picks a free address and tells it to the config.
func startDocumented(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	return l.Addr().String()
}

func adaptFile(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": file})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func request(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer planted-bearer")
	req.Header.Set("Cookie", "session=planted-session")
	req.Header.Set("User-Agent", "test/1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
}

// waitForLines reads a log of JSON lines once it has that many: a line is
// written after its response.
func waitForLines(t *testing.T, file string, n int) []map[string]any {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		text, err := os.ReadFile(file)
		if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); err == nil && len(text) > 0 && len(lines) >= n {
			parsed := make([]map[string]any, len(lines))
			for i, line := range lines {
				if err := json.Unmarshal([]byte(line), &parsed[i]); err != nil {
					t.Fatalf("%s: %v in %s", file, err, line)
				}
			}
			return parsed
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has not %d lines: %q, %v", file, n, text, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

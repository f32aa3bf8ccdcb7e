package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	api "github.com/fairway-gateway/fairway/backend/http"
	"github.com/fairway-gateway/fairway/backend/sql"
	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

// startService serves on a free port. stop asks it to end and returns how it did.
func startService(t *testing.T, c sql.Config) (url string, stop func() error) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &serveFlags{databaseFlags: &databaseFlags{config: c}, issuer: "https://fairway.example", audience: "fairway", testArgon2: true, mailFrom: "a@b.co", shutdownLimit: 30 * time.Second}
	if f.config.Dir == "" {
		f.config.Dir = t.TempDir()
	}
	sender, err := f.sender()
	if err != nil {
		t.Fatal(err)
	}
	s, err := start(t.Context(), f, api.Config{Log: log, OpenRegistration: true}, sender, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, l, f) }()
	return "http://" + l.Addr().String(), func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(f.shutdownLimit + 5*time.Second):
			t.Fatal("the service does not end")
			return nil
		}
	}
}

func post(t *testing.T, url, body string) map[string]any {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var v map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil || resp.StatusCode > 299 {
		t.Fatalf("POST %s = %d %v, %v", url, resp.StatusCode, v, err)
	}
	return v
}

func get(t *testing.T, url, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// Accounts, keys and sessions outlive the process.
func TestServe_Restart(t *testing.T) {
	for name, c := range map[string]sql.Config{"sqlite": {Dir: t.TempDir()}, "postgres": {URL: pgtest.Database(t)}} {
		t.Run(name, func(t *testing.T) {
			url, stop := startService(t, c)
			post(t, url+"/api/auth/register", `{"email":"ada@example.com","password":"correct horse","name":"Ada"}`)
			tokens := post(t, url+"/api/auth/login", `{"email":"ada@example.com","password":"correct horse"}`)
			if err := stop(); err != nil {
				t.Fatalf("the first instance ended with %v", err)
			}
			url, stop = startService(t, c)
			if got := get(t, url+"/api/users/me", tokens["access_token"].(string)); got != 200 {
				t.Errorf("the access token of before = %d", got)
			}
			post(t, url+"/api/auth/refresh", `{"refresh_token":"`+tokens["refresh_token"].(string)+`"}`)
			if err := stop(); err != nil {
				t.Errorf("the second instance ended with %v", err)
			}
		})
	}
}

// A request that has begun when the service is told to end is answered.
func TestServe_ShutdownWaitsForRequests(t *testing.T) {
	url, stop := startService(t, sql.Config{Dir: t.TempDir()})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"email":"ada@example.com","password":"correct horse","name":"Ada"}`
	_, _ = io.WriteString(conn, "POST /api/auth/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999\r\nExpect: 100-continue\r\n\r\n")
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("the request has not begun: %q, %v", line, err)
	}
	_, _ = r.ReadString('\n')
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	waitUntilRefused(t, strings.TrimPrefix(url, "http://"))
	_, _ = io.WriteString(conn, body+strings.Repeat(" ", 999-len(body)))
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Errorf("the request that had begun = %v, %v, want 201", resp, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the shutdown = %v", err)
	}
}

// A request that does not end is broken off at the limit, and the exit code says so.
func TestServe_StuckRequestIsBrokenOff(t *testing.T) {
	dir := t.TempDir()
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var stderr bytes.Buffer
	exit := make(chan int, 1)
	go func() {
		exit <- run([]string{"serve", "--listen", address, "--data", dir, "--shutdown-timeout", "2s"}, env(), strings.NewReader(""), io.Discard, &stderr)
	}()
	var conn net.Conn
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err = net.Dial("tcp", address); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("the request has not begun: %q, %v", line, err)
	}
	begun := time.Now()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-exit:
		if took := time.Since(begun); code != 1 || took < time.Second || took > 10*time.Second {
			t.Errorf("exit %d after %s, want 1 after some 2s", code, took)
		}
		if !strings.Contains(stderr.String(), "users: requests or jobs were still running after 2s") {
			t.Errorf("stderr: %s", stderr.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the service does not end")
	}
}

func TestServe_OneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	db, err := openMigrated(t.Context(), sql.Config{Dir: dir, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	code, _, stderr := users(env(), "", "serve", "--listen", "127.0.0.1:0", "--data", dir)
	if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "another process serves") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if code, _, stderr := users(env(), "", "keys", "list", "--data", dir); code != 0 {
		t.Errorf("a command beside it: exit %d, %s", code, stderr)
	}
}

// Traces are on where a variable says where to, and go there.
func TestServe_TracesGoToTheCollector(t *testing.T) {
	got := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(b)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	if !tracing(os.Getenv) || tracing(env()) || tracing(env("OTEL_EXPORTER_OTLP_ENDPOINT", "x", "OTEL_SDK_DISABLED", "true")) {
		t.Error("tracing() does not say what the variables say")
	}
	p, err := openTraces(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.Tracer("test").Start(t.Context(), "a span to be seen")
	span.End()
	flushTraces(p, slog.New(slog.DiscardHandler))
	select {
	case sent := <-got:
		if !strings.HasPrefix(sent, "/v1/traces ") || !strings.Contains(sent, "a span to be seen") || !strings.Contains(sent, "fairway-users") {
			t.Errorf("the collector got %q", sent)
		}
	case <-time.After(10 * time.Second):
		t.Error("the collector got nothing")
	}
}

func waitUntilRefused(t *testing.T, address string) {
	t.Helper()
	for range 200 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		c.Close()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the service still accepts connections")
}

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play both programs: run starts it with the
// arguments of the real ones, and FAKE_<name> says how it behaves.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Getenv("RUN_TEST") != "" {
		switch os.Args[1] {
		case "serve":
			fake("users", os.Args[3])
		case "run":
			fake("fairway", os.Getenv("FAIRWAY_LISTEN"))
		}
	}
	os.Exit(m.Run())
}

// fake serves /health on addr until SIGTERM, and notes when it stopped.
func fake(name, addr string) {
	behaviour := os.Getenv("FAKE_" + name)
	if behaviour == "refuse" {
		fmt.Fprint(os.Stderr, os.Getenv("FAKE_WORDS"))
		os.Exit(3)
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM)
	status := http.StatusOK
	if behaviour == "sick" {
		status = http.StatusServiceUnavailable
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(4) })
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(addr, mux))
		os.Exit(5)
	}()
	<-stopped
	if behaviour == "stubborn" {
		select {}
	}
	_ = os.WriteFile(os.Getenv("STOP_DIR")+"/"+name, []byte(strconv.FormatInt(time.Now().UnixNano(), 10)), 0o600)
	os.Exit(0)
}

// freePort is a port nobody listens on at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// screen is what a user sees, readable while it is written.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// stage is one call of run with fakes, going on in the background.
type stage struct {
	options
	out     screen
	signals chan os.Signal
	result  chan error
	stops   string // folder in which a fake notes when it stopped
}

func newStage(t *testing.T, behaviour map[string]string) *stage {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{signals: make(chan os.Signal, 2), result: make(chan error, 1), stops: t.TempDir()}
	t.Setenv("RUN_TEST", "1")
	t.Setenv("STOP_DIR", s.stops)
	for name, how := range behaviour {
		t.Setenv("FAKE_"+name, how)
	}
	config := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.options = options{
		gateway: self, users: self, config: config,
		data:          filepath.Join(t.TempDir(), "da ta"),
		gatewayListen: ":" + freePort(t),
		admin:         "localhost:" + freePort(t),
		usersListen:   "127.0.0.1:" + freePort(t),
		wait:          20 * time.Second,
		grace:         20 * time.Second,
	}
	return s
}

func (s *stage) start() { go func() { s.result <- run(s.options, s.signals, &s.out) }() }

// healthy waits until run has shown what to try.
func (s *stage) healthy(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(s.wait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(s.out.String(), "Ctrl-C stops both") {
			return
		}
	}
	t.Fatalf("run never said that both are healthy:\n%s", s.out.String())
}

func (s *stage) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.result:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("run did not return")
		return nil
	}
}

// gone fails if one of the addresses is still served.
func (s *stage) gone(t *testing.T) {
	t.Helper()
	for _, addr := range []string{"127.0.0.1" + s.gatewayListen, s.usersListen} {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Errorf("%s is still served after run has returned", addr)
		}
	}
}

// stoppedAt is when a fake noted that it stopped gracefully.
func (s *stage) stoppedAt(t *testing.T, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.stops, name))
	if err != nil {
		t.Fatalf("%s did not stop gracefully: %v", name, err)
	}
	at, _ := strconv.ParseInt(string(text), 10, 64)
	return at
}

func TestRun_SignalStopsTheGatewayThenTheUsers(t *testing.T) {
	s := newStage(t, nil)
	s.start()
	s.healthy(t)
	s.signals <- os.Interrupt
	if err := s.end(t); err != nil {
		t.Errorf("run = %v, want nil after a signal", err)
	}
	s.gone(t)
	if s.stoppedAt(t, "fairway") >= s.stoppedAt(t, "users") {
		t.Error("the user service stopped before the gateway")
	}
	if got := strings.Count(s.out.String(), "\n   curl "); got != 4 {
		t.Errorf("%d lines start with curl, want 4 and one in $( ):\n%s", got, s.out.String())
	}
	if !strings.Contains(s.out.String(), "http://127.0.0.1"+s.gatewayListen+"/api/users/me") {
		t.Errorf("no command names the gateway's address:\n%s", s.out.String())
	}
}

func TestRun_OneEndsTheOtherIsStopped(t *testing.T) {
	for name, other := range map[string]string{"fairway": "users", "users": "fairway"} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			s.start()
			s.healthy(t)
			addr := map[string]string{"fairway": "127.0.0.1" + s.gatewayListen, "users": s.usersListen}[name]
			_, _ = ask(t.Context(), "http://"+addr+"/crash")
			err := s.end(t)
			if err == nil || !strings.HasPrefix(err.Error(), name+" ended by itself (exit status 4)") {
				t.Errorf("run = %v, want it to name %s and exit status 4", err, name)
			}
			s.gone(t)
			s.stoppedAt(t, other)
		})
	}
}

func TestRun_FailuresAreOneLine(t *testing.T) {
	for name, tt := range map[string]struct {
		behaviour map[string]string
		change    func(o *options)
		want      string
	}{
		"gateway refuses its config": {
			map[string]string{
				"fairway": "refuse",
				"WORDS":   `{"level":"info","msg":"using config"}` + "\n" + `{"level":"error","msg":"no such directive"}` + "\n",
			},
			nil,
			"fairway ended by itself (exit status 3): no such directive (see ",
		},
		"user service does not start": {
			map[string]string{"users": "refuse", "WORDS": "users: the database is wrong\n\n"},
			nil,
			"users ended by itself (exit status 3): users: the database is wrong (see ",
		},
		"user service is killed in passing": {
			map[string]string{"users": "refuse", "WORDS": `{"level":"INFO","msg":"request","status":200}` + "\n"},
			nil,
			"users ended by itself (exit status 3): it named no error (see ",
		},
		"user service says nothing": {
			map[string]string{"users": "refuse"},
			nil,
			"users ended by itself (exit status 3): it said nothing (see ",
		},
		"gateway stays unhealthy": {
			map[string]string{"fairway": "sick"},
			func(o *options) { o.wait = time.Second },
			"/health answers 503",
		},
		"nothing built": {nil, func(o *options) { o.gateway = "bin/absent" }, "bin/absent: no such file: run `make build`"},
		"no Caddyfile":  {nil, func(o *options) { o.config = "Absent" }, "Absent: no such file"},
		"gateway address is not a port": {
			nil, func(o *options) { o.gatewayListen = "example.com" },
			`FAIRWAY_LISTEN: want :port, got "example.com"`,
		},
		"user address without a port": {
			nil, func(o *options) { o.usersListen = "127.0.0.1" },
			`USERS_LISTEN: want host:port, got "127.0.0.1"`,
		},
		"admin port out of range": {
			nil, func(o *options) { o.admin = "localhost:99999" },
			`FAIRWAY_ADMIN: want host:port, got "localhost:99999"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, tt.behaviour)
			if tt.change != nil {
				tt.change(&s.options)
			}
			s.start()
			err := s.end(t)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("run = %v, want one line with %q", err, tt.want)
			}
		})
	}
}

func TestRun_TakenPortNamesItAndWhatWantsIt(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(o *options, port string)
		want string
	}{
		"users":   {func(o *options, port string) { o.usersListen = "127.0.0.1:" + port }, "the user service cannot listen on 127.0.0.1:%s: bind: address already in use (another address: set USERS_LISTEN)"},
		"gateway": {func(o *options, port string) { o.gatewayListen = ":" + port }, "the gateway cannot listen on :%s: bind: address already in use (another address: set FAIRWAY_LISTEN)"},
		"admin":   {func(o *options, port string) { o.admin = "127.0.0.1:" + port }, "the gateway's admin endpoint cannot listen on 127.0.0.1:%s: bind: address already in use (another address: set FAIRWAY_ADMIN)"},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			s := newStage(t, nil)
			tt.set(&s.options, port)
			err = run(s.options, s.signals, &s.out)
			if want := fmt.Sprintf(tt.want, port); err == nil || err.Error() != want {
				t.Errorf("run = %v, want %q", err, want)
			}
		})
	}
}

func TestRevocations_ReachTheGateway(t *testing.T) {
	for _, tt := range []struct {
		name, admin string
		env         map[string]string
		want        string
	}{
		{"without Redis by the admin endpoint", "localhost:2019", nil, "USERS_GATEWAY_ADMIN=http://localhost:2019"},
		{"Redis switched off", "localhost:2019", map[string]string{"REDIS_URL": "off"}, "USERS_GATEWAY_ADMIN=http://localhost:2019"},
		{"by the gateway's Redis", "localhost:2019", map[string]string{"REDIS_URL": "redis://r"}, "USERS_REDIS_URL=redis://r"},
		{"a Cluster, which the service does not know", ":2019", map[string]string{"REDIS_URL": "redis+cluster://r"}, "USERS_GATEWAY_ADMIN=http://localhost:2019"},
		{"as the user says", "localhost:2019", map[string]string{"USERS_GATEWAY_ADMIN": "http://a"}, ""},
		{"no way at all", "off", nil, ""},
	} {
		got := revocations(options{admin: tt.admin}, func(name string) string { return tt.env[name] })
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestRun_SecondSignalKills(t *testing.T) {
	s := newStage(t, map[string]string{"fairway": "stubborn", "users": "stubborn"})
	s.start()
	s.healthy(t)
	s.signals <- os.Interrupt
	s.signals <- os.Interrupt
	err := s.end(t)
	if err == nil || err.Error() != "fairway: killed at the second signal" {
		t.Errorf("run = %v, want the gateway killed at the second signal", err)
	}
	s.gone(t)
}

func TestRun_GraceOverKills(t *testing.T) {
	s := newStage(t, map[string]string{"fairway": "stubborn"})
	s.grace = 300 * time.Millisecond
	s.start()
	s.healthy(t)
	s.signals <- os.Interrupt
	err := s.end(t)
	if err == nil || !strings.HasPrefix(err.Error(), "fairway: killed: it had not stopped after 300ms") {
		t.Errorf("run = %v, want the gateway killed when its grace was over", err)
	}
	s.gone(t)
	s.stoppedAt(t, "users")
}

package test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/test/process"
)

// run runs a program that should end by itself, and returns what it printed.
func run(t *testing.T, dir, path string, args ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%s %v: %v; it printed\n%s", path, args, err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// wantOneClearLine checks that a program failed with one line that says all of
// parts. What a program logs before it fails is not counted.
func wantOneClearLine(t *testing.T, output string, code int, parts ...string) {
	t.Helper()
	if code <= 0 {
		t.Errorf("exit code %d, want a failure; it printed\n%s", code, output)
	}
	if strings.Contains(output, "panic:") || strings.Contains(output, "goroutine ") {
		t.Errorf("it panicked:\n%s", output)
	}
	for line := range strings.Lines(output) {
		missing := false
		for _, p := range parts {
			missing = missing || !strings.Contains(line, p)
		}
		if !missing {
			return
		}
	}
	t.Errorf("no line says all of %q; it printed\n%s", parts, output)
}

// Whatever is wrong at start: one line names the file, the line or the field,
// and the value, and the program ends.
func TestCommand_GatewayMistakes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	site := func(inside string) string {
		return "{\n\tadmin off\n\tauto_https off\n}\nhttp://127.0.0.1:" + port(process.FreeAddr()) + " {\n" + inside + "\n}\n"
	}
	for name, tc := range map[string]struct {
		caddyfile string
		says      []string
	}{
		"a directive that does not exist": {
			site("\trate_limmit {\n\t}"), []string{"Caddyfile:6", "rate_limmit"},
		},
		"an option that does not exist": {
			site("\troute {\n\t\tcache {\n\t\t\tmax_sighs 1MiB\n\t\t}\n\t}"), []string{"Caddyfile:8", "cache", "max_sighs"},
		},
		"a key file that does not exist": {
			site("\tjwt_auth {\n\t\tissuer https://x {\n\t\t\talgorithms RS256\n\t\t\taudience x\n\t\t\tjwks_file /no/such/keys.json\n\t\t}\n\t}"),
			[]string{"jwt_auth", "/no/such/keys.json"},
		},
		"a schema that is not JSON": {
			site("\tvalidate {\n\t\tschema Caddyfile\n\t}"), []string{"validate", "schema", "Caddyfile"},
		},
		"a Redis URL of another kind": {
			"{\n\tadmin off\n\tfairway {\n\t\tredis http://127.0.0.1:6379\n\t}\n}\n", []string{"redis", "http"},
		},
		"a Redis URL with a bad port": {
			"{\n\tadmin off\n\tfairway {\n\t\tredis redis://127.0.0.1:port\n\t}\n}\n", []string{"redis", "port"},
		},
		"a port in use": {
			"{\n\tadmin off\n}\nhttp://:" + port(taken.Addr().String()) + " {\n\tbind keep/127.0.0.1\n\trespond ok\n}\n",
			[]string{taken.Addr().String(), "address already in use"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "Caddyfile"), tc.caddyfile)
			out, code := run(t, dir, fairway(t), "run", "--config", "Caddyfile")
			wantOneClearLine(t, out, code, tc.says...)
		})
	}
}

func TestCommand_UserServiceMistakes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tc := range map[string]struct {
		args []string
		says []string
	}{
		"a port in use":         {[]string{"serve", "--listen", taken.Addr().String(), "--data", "."}, []string{taken.Addr().String(), "in use"}},
		"a folder that is none": {[]string{"serve", "--listen", "127.0.0.1:0", "--data", "/dev/null/data"}, []string{"/dev/null"}},
		"an unknown flag":       {[]string{"serve", "--lissten", "x"}, []string{"lissten"}},
		"a database of no kind": {[]string{"serve", "--listen", "127.0.0.1:0", "--database-url", "mysql://localhost/x"}, []string{"mysql"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, code := run(t, t.TempDir(), users(t), tc.args...)
			wantOneClearLine(t, out, code, tc.says...)
		})
	}
}

func TestCommand_BuildManifestMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		manifest string
		says     []string
	}{
		"an unknown key":  {"caddy = \"v2.11.9\"\noutputt = \"x\"\n", []string{"xcaddy.toml:2", "outputt"}},
		"no TOML":         {"caddy = \"v2.11.9\"\n[[module\n", []string{"xcaddy.toml:"}},
		"another type":    {"caddy = 2\n", []string{"xcaddy.toml:1", "caddy"}},
		"no such version": {"caddy = \"newest\"\noutput = \"x\"\n[[module]]\npath = \"example.com/m\"\nversion = \"v1.0.0\"\n", []string{"xcaddy.toml:1", "newest"}},
	} {
		t.Run(name, func(t *testing.T) {
			manifest := write(t, filepath.Join(t.TempDir(), "xcaddy.toml"), tc.manifest)
			out, code := run(t, root, builder(t), "-f", manifest)
			wantOneClearLine(t, out, code, tc.says...)
		})
	}
	out, code := run(t, root, builder(t), "-f", "/no/such/xcaddy.toml")
	wantOneClearLine(t, out, code, "/no/such/xcaddy.toml")
}

func TestCommand_ListsModulesAndVersions(t *testing.T) {
	dir := t.TempDir()
	modules, code := run(t, dir, fairway(t), "list-modules")
	if code != 0 {
		t.Errorf("list-modules ends with %d", code)
	}
	for _, id := range []string{
		"admin.api.fairway", "fairway",
		"http.authentication.providers.jwt",
		"http.handlers.cache", "http.handlers.health", "http.handlers.jwt_auth", "http.handlers.problem",
		"http.handlers.rate_limit", "http.handlers.request_id", "http.handlers.resilience", "http.handlers.validate",
		"http.reverse_proxy.selection_policies.resilient", "http.reverse_proxy.transport.resilient",
	} {
		if !strings.Contains("\n"+modules, "\n"+id+"\n") {
			t.Errorf("list-modules does not list %s", id)
		}
	}
	version, code := run(t, dir, fairway(t), "version")
	if code != 0 || !strings.Contains(version, "fairway") || !strings.Contains(version, "v2.11") {
		t.Errorf("version prints %q, want Fairway's and Caddy's", version)
	}
}

func TestCommand_ValidatesTheExampleWithoutNetwork(t *testing.T) {
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("REDIS_URL", "redis://127.0.0.1:1/0")
	t.Setenv("FAIRWAY_DATA", t.TempDir())
	out, code := run(t, dir, fairway(t), "validate", "--config", "Caddyfile.example", "--adapter", "caddyfile")
	if code != 0 || !strings.Contains(out, "Valid configuration") {
		t.Errorf("validate ends with %d:\n%s", code, out)
	}
}

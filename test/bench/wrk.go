package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fairway-gateway/fairway/test/process"
)

// keyHeader carries the key of scenarios with many of them.
const keyHeader = "X-Key"

// wrkResult is what the script's last line says. Times are in µs.
type wrkResult struct {
	Requests int64   `json:"requests"`
	Duration int64   `json:"duration"`
	Connect  int64   `json:"connect"`
	Read     int64   `json:"read"`
	Write    int64   `json:"write"`
	Timeout  int64   `json:"timeout"`
	Status   int64   `json:"status"` // answers of 400 and more
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
}

// load sends requests for a while and fails if any answer is not as wanted.
// run makes unique paths differ between the loads of one server.
func (l *lab) load(ctx context.Context, c Contender, url string, d time.Duration, run int) (Sample, error) {
	if err := l.needUsers(c.Request.Users); err != nil {
		return Sample{}, err
	}
	script := filepath.Join(l.dir, "load.lua")
	if err := os.WriteFile(script, []byte(l.script(c.Request, run)), 0o600); err != nil {
		return Sample{}, err
	}
	// wrk takes whole seconds only. A shorter load is cut off by SIGINT, at
	// which wrk reports as usual.
	p, err := process.Start(process.Spec{
		Name: "wrk", Path: l.wrk, Dir: l.dir, Cores: l.loadCores,
		Args: []string{
			"--threads", "1", "--connections", strconv.Itoa(cmp.Or(c.Request.Connections, l.Connections)), "--timeout", "10s",
			"--duration", fmt.Sprintf("%ds", int(d.Seconds())+10), "--script", script, url + c.Request.path(),
		},
	})
	if err != nil {
		return Sample{}, err
	}
	defer p.Kill()
	if err := letRun(ctx, p, d); err != nil {
		return Sample{}, err
	}
	r, err := parseWrk(p.Log())
	if err != nil {
		return Sample{}, err
	}
	return r.sample(c)
}

func letRun(ctx context.Context, p *process.Process, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.Done():
		return fmt.Errorf("wrk ended early:\n%s", p.LogTail(10))
	case <-time.After(d):
	}
	if err := p.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-p.Done():
		return nil
	case <-time.After(startLimit):
		return fmt.Errorf("wrk does not end:\n%s", p.LogTail(10))
	}
}

// parseWrk reads the last JSON line of wrk's output.
func parseWrk(out string) (wrkResult, error) {
	var r wrkResult
	at := strings.LastIndex(out, "\n{")
	if at < 0 {
		return r, fmt.Errorf("wrk reported nothing:\n%s", out)
	}
	if err := json.NewDecoder(strings.NewReader(out[at:])).Decode(&r); err != nil {
		return r, fmt.Errorf("reading wrk's report %q: %w", out[at:], err)
	}
	return r, nil
}

var errUnanswered = errors.New("no request was answered")

// sample turns a report into a sample, unless anything went wrong.
func (r wrkResult) sample(c Contender) (Sample, error) {
	if r.Requests == 0 {
		return Sample{}, errUnanswered
	}
	if broken := r.Connect + r.Read + r.Write + r.Timeout; broken > 0 {
		return Sample{}, fmt.Errorf("%d connect, %d read, %d write errors and %d timeouts in %d requests",
			r.Connect, r.Read, r.Write, r.Timeout, r.Requests)
	}
	wantRefused := int64(0)
	if c.Want.status() >= 400 {
		wantRefused = r.Requests
	}
	// A limit of one request lets the first of them pass.
	if r.Status != wantRefused && (wantRefused == 0 || r.Status < wantRefused-1) {
		return Sample{}, fmt.Errorf("%d of %d answers had a status of 400 or more, want %d", r.Status, r.Requests, wantRefused)
	}
	micros := func(f float64) time.Duration { return time.Duration(f * float64(time.Microsecond)) }
	return Sample{
		Requests: r.Requests,
		Elapsed:  micros(float64(r.Duration)),
		P50:      micros(r.P50),
		P99:      micros(r.P99),
	}, nil
}

// needUsers writes the tokens of n users, unless they are there.
func (l *lab) needUsers(n int) error {
	if l.users == n || n == 0 {
		return nil
	}
	if err := l.made.writeUsers(l.dir, n); err != nil {
		return err
	}
	l.users = n
	return nil
}

// headers are those that every request of a contender has.
func (l *lab) headers(r Request) map[string]string {
	h := make(map[string]string)
	if r.Token != "" {
		h["Authorization"] = "Bearer " + l.made.tokens[r.Token]
	}
	if r.Body != "" {
		h["Content-Type"] = "application/json"
	}
	return h
}

// script is the Lua that makes wrk send a contender's requests and report as
// JSON. Requests that never differ are formatted once, by wrk itself.
func (l *lab) script(r Request, run int) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "wrk.method = %s\n", lua(r.method()))
	if r.Body != "" {
		fmt.Fprintf(&b, "wrk.body = %s\n", lua(r.Body))
	}
	for name, value := range l.headers(r) {
		fmt.Fprintf(&b, "wrk.headers[%s] = %s\n", lua(name), lua(value))
	}
	if r.Users > 0 {
		fmt.Fprintf(&b, "local tokens = {}\nfor t in io.lines(%s) do tokens[#tokens + 1] = \"Bearer \" .. t end\n", lua(usersFile))
	}
	if r.UniquePath || r.Keys > 0 || r.Users > 0 {
		b.WriteString("local n = 0\nfunction request()\n\tn = n + 1\n\tlocal path = nil\n")
		if r.UniquePath {
			fmt.Fprintf(&b, "\tpath = %s .. n\n", lua(fmt.Sprintf("%s/%d-", r.path(), run)))
		}
		if r.Keys > 0 {
			fmt.Fprintf(&b, "\twrk.headers[%s] = \"key-\" .. (n %% %d)\n", lua(keyHeader), r.Keys)
		}
		if r.Users > 0 {
			b.WriteString("\twrk.headers[\"Authorization\"] = tokens[n % #tokens + 1]\n")
		}
		b.WriteString("\treturn wrk.format(nil, path)\nend\n")
	}
	b.WriteString(reportLua)
	return b.String()
}

const reportLua = `
function done(summary, latency)
	local e = summary.errors
	io.write(string.format(
		'\n{"requests":%d,"duration":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d,"p50":%.1f,"p99":%.1f}\n',
		summary.requests, summary.duration, e.connect, e.read, e.write, e.timeout, e.status,
		latency:percentile(50), latency:percentile(99)))
end
`

// lua quotes a string of printable ASCII: the escapes of %q are Lua's too.
func lua(s string) string { return strconv.QuoteToASCII(s) }

package validate

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const answersDocument = `
openapi: 3.0.3
info: {title: Answers, version: "1"}
paths:
  /a:
    get:
      operationId: answer
      responses:
        200:
          description: ok
          headers: {X-Left: {required: true, schema: {type: integer, minimum: 0}}}
          content:
            application/json: {schema: {$ref: "#/components/schemas/User"}}
            text/csv: {}
        204: {description: none}
        4XX: {$ref: "#/components/responses/Problem"}
components:
  responses:
    Problem: {description: bad, content: {application/*+json: {schema: {type: object, required: [title]}}}}
  schemas:
    User:
      type: object
      required: [id, email, password]
      properties:
        id: {type: integer, readOnly: true}
        email: {type: string, format: email}
        password: {type: string, writeOnly: true}
      additionalProperties: false
`

const goodUser = `{"id":1,"email":"a@b.example"}`

// watched returns a handler whose log can be read.
func watched(t testing.TB, max int64) (*Handler, *observer.ObservedLogs) {
	t.Helper()
	h := provision(t, &Handler{OpenAPI: &OpenAPI{
		Document: writeFile(t, "answers.yaml", answersDocument), Responses: "shadow", MaxResponse: max,
	}})
	core, logs := observer.New(zap.DebugLevel)
	h.shadow.log = zap.New(core)
	return h, logs
}

// answering has a server answer through the handler.
func answering(t testing.TB, h *Handler, f func(http.ResponseWriter, *http.Request) error) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
		var he caddyhttp.HandlerError
		if err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(f)); errors.As(err, &he) {
			w.WriteHeader(he.StatusCode)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// counted waits until one more answer of an outcome has been counted than
// before the call of the function that it returns for.
func counted(t testing.TB, outcome string) (wait func()) {
	t.Helper()
	counter := answers.WithLabelValues(outcome)
	before := testutil.ToFloat64(counter)
	return func() {
		t.Helper()
		for end := time.Now().Add(time.Minute); testutil.ToFloat64(counter) <= before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no answer was counted as %s", outcome)
			}
		}
	}
}

func send(status int, contentType, body string, header ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Left", "3")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, err := io.WriteString(w, body)
		return err
	}
}

func TestShadow_CountsAndNamesFieldsButChangesNothing(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, goodUser)
	_ = z.Close()
	large := `{"id":1,"email":"` + strings.Repeat("x", 1000) + `@b.example"}`
	cases := map[string]struct {
		answer          func(http.ResponseWriter, *http.Request) error
		status          int
		body            string
		outcome, fields string
	}{
		"good, without what is writeOnly": {send(200, "application/json; charset=utf-8", goodUser), 200, goodUser, "valid", ""},
		"wrong fields":                    {send(200, "application/json", `{"email":"secret-value","x":1}`), 200, `{"email":"secret-value","x":1}`, "invalid", "email id x"},
		"no JSON":                         {send(200, "application/json", `{"id":`), 200, `{"id":`, "invalid", ""},
		"header":                          {send(200, "application/json", goodUser, "X-Left", "-5"), 200, goodUser, "invalid", "header.X-Left"},
		"status":                          {send(201, "application/json", goodUser), 201, goodUser, "undeclared_status", ""},
		"status of a page":                {send(500, "text/html", "<p>"), 500, "<p>", "undeclared_status", ""},
		"type":                            {send(200, "text/html", "<p>"), 200, "<p>", "undeclared_type", ""},
		"declared, not JSON":              {send(200, "text/csv", "a,b"), 200, "a,b", "skipped", ""},
		"class of statuses":               {send(404, "application/problem+json", `{"title":"x"}`), 404, `{"title":"x"}`, "valid", ""},
		"class of statuses, bad":          {send(404, "application/problem+json", `{}`), 404, `{}`, "invalid", "title"},
		"no content":                      {send(204, "", ""), 204, "", "valid", ""},
		"not modified":                    {send(304, "", ""), 304, "", "skipped", ""},
		"part":                            {send(206, "application/json", "{"), 206, "{", "skipped", ""},
		"too large":                       {send(200, "application/json", large), 200, large, "too_large", ""},
		"encoded":                         {send(200, "application/json", packed.String(), "Content-Encoding", "gzip"), 200, packed.String(), "encoded", ""},
		"nothing, an error": {func(http.ResponseWriter, *http.Request) error {
			return caddyhttp.Error(502, errors.New("no upstream"))
		}, 502, "", "skipped", ""},
		"by ReadFrom": {func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "application/json")
			_, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader(`{"id":"1"}`))
			return err
		}, 200, `{"id":"1"}`, "invalid", "email header.X-Left id"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h, logs := watched(t, 512)
			s := answering(t, h, c.answer)
			wait := counted(t, c.outcome)
			req, _ := http.NewRequest("GET", s.URL+"/a", nil)
			req.Header.Set("Accept-Encoding", "gzip")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || string(got) != c.body {
				t.Errorf("client got %d %q (%v), want %d %q", resp.StatusCode, got, err, c.status, c.body)
			}
			wait()
			faulty := c.outcome == "invalid" || strings.HasPrefix(c.outcome, "undeclared")
			checkReport(t, logs, faulty, c.outcome, c.fields)
			if n := copied.Load(); n != 0 && !eventually(func() bool { return copied.Load() == 0 }) {
				t.Errorf("%d bytes of copies are still held", n)
			}
		})
	}
}

func eventually(f func() bool) bool {
	for range 60_000 {
		if f() {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

func checkReport(t *testing.T, logs *observer.ObservedLogs, faulty bool, outcome, fields string) {
	t.Helper()
	lines := logs.All()
	if !faulty {
		if len(lines) > 0 {
			t.Errorf("logged %v", lines)
		}
		return
	}
	if len(lines) != 1 {
		t.Fatalf("%d lines, want 1", len(lines))
	}
	facts := lines[0].ContextMap()
	named, _ := facts["fields"].([]any)
	var texts []string
	for _, f := range named {
		if s := f.(string); s != "" {
			texts = append(texts, s)
		}
	}
	slices.Sort(texts)
	if facts["operation"] != "answer" || facts["outcome"] != outcome || strings.Join(texts, " ") != fields {
		t.Errorf("logged %v, want fields %q", facts, fields)
	}
	for _, v := range facts {
		if s, ok := v.(string); ok && strings.Contains(s, "secret") {
			t.Errorf("a value is in the log: %q", s)
		}
	}
}

func TestShadow_WritesOneLineInAWhile(t *testing.T) {
	h, logs := watched(t, 0)
	s := answering(t, h, send(500, "text/plain", "x"))
	for range 5 {
		wait := counted(t, "undeclared_status")
		resp, err := http.Get(s.URL + "/a")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		wait()
	}
	if logs.Len() != 1 {
		t.Errorf("%d lines for 5 faults, want 1", logs.Len())
	}
	rs := h.source.file.router.root.literals["a"].item.operations["GET"].responses
	if before, ok := rs.mayLog(time.Now().Add(time.Minute), shadowLogInterval); !ok || before != 4 {
		t.Errorf("a minute later: %v, %d left out; want a line that says 4", ok, before)
	}
}

// The first byte is with the client while the upstream still writes, and a
// large answer passes whole though it is not copied.
func TestShadow_Streams(t *testing.T) {
	h, _ := watched(t, 1<<10)
	goOn := make(chan struct{})
	rest := strings.Repeat(" ", 3<<20)
	s := answering(t, h, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{")
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
		<-goOn
		_, err := io.WriteString(w, rest)
		return err
	})
	resp, err := http.Get(s.URL + "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, first); err != nil || first[0] != '{' {
		t.Fatalf("first byte %q, %v", first, err)
	}
	wait := counted(t, "invalid") // the header X-Left is missing
	close(goOn)
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != rest {
		t.Errorf("the rest: %d bytes, %v; want %d", len(got), err, len(rest))
	}
	wait()
}

func TestShadow_AbortedAnswersStayAborted(t *testing.T) {
	h, logs := watched(t, 0)
	s := answering(t, h, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":`)
		panic(http.ErrAbortHandler)
	})
	wait := counted(t, "aborted")
	resp, err := http.Get(s.URL + "/a")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("the client got a whole answer")
	}
	wait()
	if logs.Len() != 0 || copied.Load() != 0 {
		t.Errorf("%d lines, %d bytes held", logs.Len(), copied.Load())
	}
}

func TestShadow_HijackAndHead(t *testing.T) {
	h, _ := watched(t, 0)
	s := answering(t, h, func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodHead {
			return send(200, "application/json", "")(w, r)
		}
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		return conn.Close()
	})
	for _, method := range []string{"HEAD", "GET"} {
		wait := counted(t, "skipped")
		req, _ := http.NewRequest(method, s.URL+"/a", nil)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
		wait()
	}
}

// Answers that find no place to wait are counted and go out all the same.
func TestShadow_IsBounded(t *testing.T) {
	h, _ := watched(t, 0)
	s := answering(t, h, send(200, "application/json", goodUser))
	get := func(outcome string) {
		t.Helper()
		wait := counted(t, outcome)
		resp, err := http.Get(s.URL + "/a")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, _ := io.ReadAll(resp.Body); string(got) != goodUser {
			t.Errorf("client got %q", got)
		}
		wait()
	}
	for range maxWaiting {
		waiting <- struct{}{}
	}
	get("busy")
	for range maxWaiting {
		<-waiting
	}
	copied.Add(maxCopies)
	get("busy")
	copied.Add(-maxCopies)
	get("valid")
}

func TestShadow_BadResponsesInTheDocumentFailTheLoad(t *testing.T) {
	cases := map[string]struct{ old, bad, want string }{
		"status": {"        204:", "        2040:", `/paths/~1a/get/responses/2040: want a status such as 200, 2XX or default, got "2040"`},
		"schema": {"{type: string, writeOnly: true}", "{type: strin, writeOnly: true}", "/components/schemas/User/properties/password/type"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(answersDocument, c.old, c.bad, 1)
			file := writeFile(t, "bad.yaml", text)
			err := tryProvision(t, &Handler{OpenAPI: &OpenAPI{Document: file, Responses: "shadow"}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
	for want, o := range map[string]*OpenAPI{
		`responses: want shadow, got "on"`:               {Document: "x", Responses: "on"},
		"max_response 5 goes with responses shadow only": {Document: "x", MaxResponse: 5},
		"max_response must be between 1 and 67108864":    {Document: "x", Responses: "shadow", MaxResponse: 1 << 40},
	} {
		if err := tryProvision(t, &Handler{OpenAPI: o}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestCaddyfile_Responses(t *testing.T) {
	var h Handler
	text := "validate {\n openapi api.yaml {\n responses shadow\n max_response 2MiB\n }\n}"
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
		t.Fatal(err)
	}
	if h.OpenAPI.Responses != "shadow" || h.OpenAPI.MaxResponse != 2<<20 {
		t.Errorf("got %+v", h.OpenAPI)
	}
	for options, want := range map[string]string{
		"responses":                             "wrong argument count",
		"responses enforce":                     `validate: openapi: responses: want shadow, got "enforce"`,
		"responses shadow\n responses shadow":   "validate: openapi: responses is given twice",
		"responses shadow\n max_response lots":  `validate: openapi: max_response "lots"`,
		"responses shadow\n max_response 65MiB": `validate: openapi: max_response "65MiB"`,
		"max_response 1MiB":                     "max_response 1048576 goes with responses shadow only",
	} {
		text := "validate {\n openapi api.yaml {\n " + options + "\n }\n}"
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want …%s…", options, err, want)
		}
	}
}

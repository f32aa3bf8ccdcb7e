package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// client follows no redirects and asks for no compression unless told to.
var client = &http.Client{
	Timeout: patience,
	Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// request is what a test sends. Zero fields are left out.
type request struct {
	method string // default GET, with a body POST
	url    string
	token  string // sent as bearer
	body   string // sent as application/json unless header says otherwise
	header map[string]string
}

func get(url string) request { return request{url: url} }

func post(url, body string) request { return request{url: url, body: body} }

func (r request) as(token string) request { r.token = token; return r }

func (r request) with(name, value string) request {
	h := map[string]string{name: value}
	for n, v := range r.header {
		if n != name {
			h[n] = v
		}
	}
	r.header = h
	return r
}

func (r request) String() string {
	return fmt.Sprintf("%s %s", r.effectiveMethod(), r.url)
}

func (r request) effectiveMethod() string {
	switch {
	case r.method != "":
		return r.method
	case r.body != "":
		return http.MethodPost
	}
	return http.MethodGet
}

// answer is a response, read to its end.
type answer struct {
	to     request
	status int
	header http.Header
	body   string
	took   time.Duration
}

// send sends the request and fails the test if no complete answer comes.
func (r request) send(t testing.TB) answer {
	t.Helper()
	a, err := r.try()
	if err != nil {
		t.Fatalf("%s: %v", r, err)
	}
	return a
}

// try is send for goroutines other than the test's.
func (r request) try() (answer, error) {
	req, err := http.NewRequest(r.effectiveMethod(), r.url, strings.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	req.Host = req.Header.Get("Host") // empty: that of the URL
	req.Close = req.Header.Get("Connection") == "close"
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("reading the body after status %d: %w", resp.StatusCode, err)
	}
	return answer{to: r, status: resp.StatusCode, header: resp.Header, body: string(body), took: time.Since(begun)}, nil
}

func (a answer) String() string {
	var names []string
	for name := range a.header {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%s answered %d", a.to, a.status)
	for _, name := range names {
		fmt.Fprintf(&b, "\n%s: %s", name, strings.Join(a.header[name], ", "))
	}
	fmt.Fprintf(&b, "\n\n%.1000s", a.body)
	return b.String()
}

// want fails the test unless the status is as wanted.
func (a answer) want(t testing.TB, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("want status %d; %s", status, a)
	}
	return a
}

// wantHeader reports a header that does not contain a part.
func (a answer) wantHeader(t testing.TB, name, part string) answer {
	t.Helper()
	if got := strings.Join(a.header.Values(name), ", "); !strings.Contains(got, part) || got == "" {
		t.Errorf("want header %s with %q; %s", name, part, a)
	}
	return a
}

// into decodes the JSON body.
func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("decoding the body: %v; %s", err, a)
	}
}

// problem is the one error body (RFC 9457 with two extra members).
type problem struct {
	Status  int    `json:"status"`
	Error   string `json:"error"`
	Details []struct {
		Field   string `json:"field"`
		Message string `json:"message"`
	} `json:"details"`
}

// wantProblem fails the test unless the answer is a problem of this status and
// error, and returns its body.
func (a answer) wantProblem(t testing.TB, status int, errorText string) problem {
	t.Helper()
	a.want(t, status).wantHeader(t, "Content-Type", "application/problem+json")
	if !strings.Contains(a.body, fmt.Sprintf(`"error":%q`, errorText)) {
		t.Errorf("want the body to contain \"error\":%q; %s", errorText, a)
	}
	var p problem
	a.into(t, &p)
	if p.Status != status {
		t.Errorf("the problem says status %d; %s", p.Status, a)
	}
	return p
}

// fields are the fields named in details, sorted.
func (p problem) fields() []string {
	var fields []string
	for _, d := range p.Details {
		fields = append(fields, d.Field)
	}
	slices.Sort(fields)
	return fields
}

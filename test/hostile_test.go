package test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// generous are edits that take the limits out of the example's way.
var generous = []string{"events 5\n", "events 1000000\n", "events 100\n", "events 1000000\n"}

// A malformed token is 401, or 400 where the request itself is malformed, and
// never reaches the user service.
func TestHostile_Tokens(t *testing.T) {
	g, u := startExample(t, generous...)
	awaitKeys(t, g)
	ada := signUp(t, "http://"+u.addr, "ada")
	parts := strings.Split(ada.token, ".")
	segment := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	me := get(g.url + "/api/users/me")
	for name, token := range map[string]string{
		"empty":                       "",
		"one word":                    "x",
		"three empty parts":           "..",
		"four parts":                  ada.token + ".x",
		"not base64":                  "!!." + parts[1] + "." + parts[2],
		"padding":                     parts[0] + "." + parts[1] + "." + parts[2] + "==",
		"no signature":                parts[0] + "." + parts[1] + ".",
		"another's signature":         parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
		"claims exchanged":            parts[0] + "." + segment(`{"iss":"https://fairway.example","sub":"1","aud":"fairway","exp":4102444800}`) + "." + parts[2],
		"alg none":                    segment(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".",
		"alg HS256 with a public key": segment(`{"alg":"HS256","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"header null":                 segment(`null`) + "." + parts[1] + "." + parts[2],
		"claims null":                 parts[0] + "." + segment(`null`) + "." + parts[2],
		"claims an array":             parts[0] + "." + segment(`[]`) + "." + parts[2],
		"exp 1e300":                   parts[0] + "." + segment(`{"iss":"https://fairway.example","exp":1e300}`) + "." + parts[2],
		"deeply nested":               parts[0] + "." + segment(strings.Repeat("[", 3000)) + "." + parts[2],
		"very long":                   strings.Repeat("a", 100_000) + "." + parts[1] + "." + parts[2],
		"not UTF-8":                   parts[0] + "." + segment("{\"iss\":\"\xff\xfe\"}") + "." + parts[2],
	} {
		a := me.with("Authorization", "Bearer "+token).send(t)
		tooLong := len(token) > 8<<10 && a.status == http.StatusRequestHeaderFieldsTooLarge
		if a.status != http.StatusUnauthorized && a.status != http.StatusBadRequest && !tooLong {
			t.Errorf("%s: want 401 or 400; %s", name, a)
		}
	}
	for _, value := range []string{"Basic YTpi", "bearer", "Bearer", "Bearer  ", "Bearer a b", "Digest x", "\x7f"} {
		if a, err := me.with("Authorization", value).try(); err == nil && a.status != http.StatusUnauthorized && a.status != http.StatusBadRequest {
			t.Errorf("Authorization %q: want 401 or 400; %s", value, a)
		}
	}
	me.as(ada.token).send(t).want(t, http.StatusOK)
}

// A malformed body is a 4xx that says what is wrong.
func TestHostile_Bodies(t *testing.T) {
	g, u := startExample(t, generous...)
	awaitKeys(t, g)
	ada := signUp(t, "http://"+u.addr, "ada")
	for name, body := range map[string]string{
		"no JSON":             `hello`,
		"cut off":             `{"email":"a@example.com`,
		"null":                `null`,
		"an array":            `[]`,
		"a number":            `1e999`,
		"twice the same name": `{"email":"a@example.com","email":"b@example.com","password":"long enough","name":"Ada"}`,
		"another case":        `{"Email":"a@example.com","password":"long enough","name":"Ada"}`,
		"two documents":       `{"email":"a@example.com","password":"long enough","name":"Ada"}{}`,
		"deeply nested":       strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000),
		"not UTF-8":           "{\"email\":\"\xff@example.com\",\"password\":\"long enough\",\"name\":\"Ada\"}",
		"a lone surrogate":    `{"email":"a@example.com","password":"long enough","name":"\ud800x"}`,
		"NUL":                 "{\"email\":\"a@example.com\",\"password\":\"long enough\",\"name\":\"A\\u0000a\"}",
		"wrong types":         `{"email":1,"password":[],"name":{},"age":"x"}`,
		"too large":           `{"email":"` + strings.Repeat("a", 2<<20) + `"}`,
	} {
		for _, r := range []request{
			post(g.url+"/api/auth/register", body),
			post(g.url+"/api/auth/login", body),
			{method: http.MethodPatch, url: g.url + "/api/users/me", token: ada.token, body: body},
		} {
			a := r.send(t)
			if a.status < 400 || a.status > 499 {
				t.Errorf("%s: want 4xx; %s", name, a)
			} else {
				a.wantHeader(t, "Content-Type", "application/problem+json")
			}
		}
	}
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=latin1"} {
		a := post(g.url+"/api/auth/register", `{"email":"a@example.com"}`).with("Content-Type", contentType).send(t)
		if a.status != http.StatusUnsupportedMediaType && a.status != http.StatusBadRequest {
			t.Errorf("Content-Type %s: want 415 or 400; %s", contentType, a)
		}
	}
}

// Whatever bytes come: an answer that blames the client, and the gateway goes on.
func TestHostile_Bytes(t *testing.T) {
	g, _ := startExample(t, generous...)
	awaitKeys(t, g)
	addr := strings.TrimPrefix(g.url, "http://")
	for name, raw := range map[string]string{
		"no HTTP":                "hello, is anybody there, and if so, who?\r\n\r\n",
		"another version":        "GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
		"no host":                "GET /health HTTP/1.1\r\n\r\n",
		"two hosts":              "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"a NUL in a header":      "GET /health HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
		"a space in a name":      "GET /health HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n",
		"a folded header":        "GET /health HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\n\r\n",
		"length and chunks":      "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
		"two lengths":            "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
		"a negative length":      "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"bad chunks":             "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"two Authorizations":     "GET /api/users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\nConnection: close\r\n\r\n",
		"a bad escape":           "GET /api/users/%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"dots in the path":       "GET /api/auth/../users/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"escaped slashes":        "GET /api%2fusers%2fme HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"a very long path":       "GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"very many headers":      "GET /health HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 200_000) + "\r\n",
		"an odd method":          "BREW /api/users/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"CONNECT":                "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nConnection: close\r\n\r\n",
		"a foreign absolute URL": "GET http://example.com/api/users/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	} {
		status, err := sendRaw(addr, raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if status >= 500 && status != http.StatusHTTPVersionNotSupported {
			t.Errorf("%s: answered %d, want below 500", name, status)
		}
	}
	get(g.url+"/api/users/me").send(t).want(t, http.StatusUnauthorized)
}

// A client that breaks its own request off is no failure of the upstream: else
// five of them would shut everybody out.
func TestHostile_BrokenBodiesDoNotOpenTheBreaker(t *testing.T) {
	g, u := startExample(t, generous...)
	awaitKeys(t, g)
	addr := strings.TrimPrefix(g.url, "http://")
	head := "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for range 8 {
		status, err := sendRaw(addr, head+"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
		if err == nil && status >= 500 {
			t.Errorf("a malformed chunk: answered %d, want below 500", status)
		}
		breakOff(t, addr, head+"Content-Length: 1000\r\n\r\n{\"email\":")
	}
	// What was broken off last may still be on its way through the gateway.
	for n := range 20 {
		if state := breakerState(t, g, u.addr); state != "closed" {
			t.Fatalf("the breaker is %s after broken requests, want closed", state)
		}
		post(g.url+"/api/auth/login", fmt.Sprintf(`{"email":"nobody-%d@example.com","password":"wrong wrong"}`, n)).
			send(t).want(t, http.StatusUnauthorized)
	}
}

// breakOff sends a part of a request and closes the connection.
func breakOff(t *testing.T, addr, raw string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Error(err)
	}
	time.Sleep(20 * time.Millisecond) // let it be read
	_ = conn.Close()
}

// An upstream that answers before it has read all of a large body must not make
// the gateway take the rest of it for the next request: that would let one
// client put requests before another's on a shared connection.
func TestHostile_EarlyAnswersStayInStep(t *testing.T) {
	g, _ := startExample(t, generous...)
	awaitKeys(t, g)
	addr := strings.TrimPrefix(g.url, "http://")
	const size = 2 << 20
	large := fmt.Sprintf("POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		size, strings.Repeat("a", size))
	for range 60 {
		status, err := sendAfter(t, addr, large, "GET /api/users/me HTTP/1.1\r\nHost: x\r\n\r\n")
		if err == nil && status != http.StatusUnauthorized {
			t.Fatalf("the request after a large body is answered %d, want 401 or a closed connection", status)
		}
	}
}

// sendAfter sends two requests on one connection and returns the status of the
// second's answer, or an error if the connection was closed after the first.
func sendAfter(t *testing.T, addr, first, second string) (int, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, first)
		sent <- err
	}()
	answers := bufio.NewReader(conn)
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.Close {
		return 0, io.EOF
	}
	if err := <-sent; err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, second); err != nil {
		return 0, err
	}
	resp, err = http.ReadResponse(answers, nil)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// sendRaw returns the status of the answer, or an error if none came.
func sendRaw(addr, raw string) (int, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	go func() { _, _ = io.WriteString(conn, raw) }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}

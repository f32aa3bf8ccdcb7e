package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const identityConfig = `
{
	admin {$FAIRWAY_ADMIN}
}
{$FAIRWAY_LISTEN} {
	route {
		jwt_auth {
			issuer https://identity.example {
				key {env.IDENTITY_KEY}
				algorithms HS256
				audience any
			}
			header X-User-ID sub
		}
		reverse_proxy %s {
			transport resilient {
				breaker off
			}
		}
	}
	handle_errors {
		problem
	}
}
`

// However a client spells the header that names the user to the upstream: one
// value arrives, and it is the token's.
func TestIdentity_HeadersCannotBeForged(t *testing.T) {
	const key = "a secret of at least thirty-two bytes"
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = json.NewEncoder(w).Encode(namesOfUser(r))
	}))
	defer origin.Close()
	g := startGateway(t, fmt.Sprintf(identityConfig, strings.TrimPrefix(origin.URL, "http://")), "IDENTITY_KEY="+key)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://identity.example", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ header, body string }{
		"not at all":             {"", ""},
		"as configured":          {"X-User-ID: bob\r\n", ""},
		"in small letters":       {"x-user-id: bob\r\n", ""},
		"with underscores":       {"X_User_ID: bob\r\n", ""},
		"with dots":              {"X.User.Id: bob\r\n", ""},
		"twice":                  {"X-User-ID: bob\r\nX-User-ID: eve\r\n", ""},
		"empty":                  {"X-User-ID:\r\n", ""},
		"named hop-by-hop":       {"Connection: X-User-ID\r\n", ""},
		"named and set":          {"Connection: close, x-user-id\r\nX-User-ID: bob\r\n", ""},
		"in a trailer":           {"Transfer-Encoding: chunked\r\nTrailer: X-User-ID\r\n", "2\r\nok\r\n0\r\nX-User-ID: bob\r\n\r\n"},
		"in a trailer not named": {"Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\nX-User-ID: bob\r\n\r\n"},
	} {
		raw := "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n" + tc.header
		if tc.body == "" {
			raw += "Content-Length: 0\r\n"
		}
		var got []string
		if err := json.Unmarshal(exchange(t, g, raw+"\r\n"+tc.body), &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(got, []string{"ada"}) {
			t.Errorf("%s: the upstream sees the users %q, want ada alone", name, got)
		}
	}
}

// namesOfUser lists the values of all headers and trailers that an upstream
// might take for X-User-ID: some programs do not tell -, _ and . apart.
func namesOfUser(r *http.Request) []string {
	plain := strings.NewReplacer("_", "-", ".", "-")
	names := []string{}
	for _, fields := range []http.Header{r.Header, r.Trailer} {
		for name, values := range fields {
			if strings.EqualFold(plain.Replace(name), "X-User-ID") {
				names = append(names, values...)
			}
		}
	}
	return names
}

// exchange sends a request as it is written and returns the answer's body.
func exchange(t *testing.T, g *gateway, raw string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%.200q: answered %d, %v: %s", raw, resp.StatusCode, err, body)
	}
	return body
}

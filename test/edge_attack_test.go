package test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const attackConfig = `
{
	admin {$FAIRWAY_ADMIN}
	default_bind keep/{$FAIRWAY_BIND}
}
{$FAIRWAY_LISTEN} {
	route {
		validate {
			schema schemas/register.json
			max_body 1MiB
			read_timeout 2s
			limits {
				string 10000
			}
		}
		reverse_proxy {$ORIGIN}
	}
	handle_errors {
		problem
	}
}
`

// attack is a request as it goes over the wire.
type attack struct {
	header string // lines after the request line and Host, each with \r\n
	body   string
	status int
}

func jsonAttack(body string, status int) attack {
	return attack{"Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n", body, status}
}

func attacks() map[string]attack {
	const typ, good = "Content-Type: application/json\r\n", `{"email":"ada@example.com","password":"correct horse","name":"Ada"}`
	with := func(members string) string { return good[:len(good)-1] + "," + members + "}" }
	typed := func(header string, status int) attack {
		return attack{header + "Content-Length: " + strconv.Itoa(len(good)) + "\r\n", good, status}
	}
	all := map[string]attack{
		"duplicate members":             jsonAttack(with(`"email":"eve@example.com"`), 400),
		"duplicates by escapes":         jsonAttack(with(`"\u0065mail":"eve@example.com"`), 400),
		"a duplicate far below":         jsonAttack(with(`"x":{"a":[{"b":1,"b":2}]}`), 400),
		"depth bomb of arrays":          jsonAttack(strings.Repeat("[", 500_000), 400),
		"depth bomb of objects":         jsonAttack(strings.Repeat(`{"a":`, 200_000), 400),
		"a million values":              jsonAttack("["+strings.Repeat("1,", 400_000)+"1]", 400),
		"a million members":             jsonAttack("{"+manyMembers(60_000)+"}", 400),
		"trailing data":                 jsonAttack(good+"x", 400),
		"a second document":             jsonAttack(good+good, 400),
		"a trailing comma":              jsonAttack(good[:len(good)-1]+",}", 400),
		"a comment":                     jsonAttack("/**/"+good, 400),
		"byte order mark":               jsonAttack("\ufeff"+good, 400),
		"UTF-16":                        jsonAttack("\xff\xfe{\x00}\x00", 400),
		"invalid UTF-8":                 jsonAttack(with("\"x\":\"\xc3\x28\""), 400),
		"overlong UTF-8":                jsonAttack(with("\"x\":\"\xc0\xaf\""), 400),
		"half a surrogate pair":         jsonAttack(with(`"x":"\ud800"`), 400),
		"a NUL byte":                    jsonAttack(with("\"x\":\"\x00\""), 400),
		"a number of a million digits":  jsonAttack(with(`"age":`+strings.Repeat("9", 900_000)), 400),
		"an exponent of a million":      jsonAttack(with(`"age":1e1000000`), 400),
		"a negative exponent":           jsonAttack(with(`"age":1e-1000000`), 400),
		"NaN":                           jsonAttack(with(`"age":NaN`), 400),
		"a leading zero":                jsonAttack(with(`"age":020`), 400),
		"a string beyond the limit":     jsonAttack(with(`"x":"`+strings.Repeat("a", 20_000)+`"`), 400),
		"no JSON at all":                jsonAttack("email=ada", 400),
		"an empty body":                 {typ + "Content-Length: 0\r\n", "", 400},
		"white space only":              jsonAttack("  \n ", 400),
		"the wrong charset":             typed("Content-Type: application/json; charset=iso-8859-1\r\n", 415),
		"UTF-7":                         typed("Content-Type: application/json; charset=utf-7\r\n", 415),
		"the wrong type":                typed("Content-Type: text/plain\r\n", 415),
		"no type":                       typed("", 415),
		"two types":                     typed("Content-Type: application/json\r\nContent-Type: text/plain\r\n", 415),
		"a type that is none":           typed("Content-Type: application/json;;=\r\n", 415),
		"compressed":                    typed(typ+"Content-Encoding: gzip\r\n", 415),
		"larger than allowed":           {typ + "Content-Length: 99999999999\r\n", "", 413},
		"a length that is none":         {typ + "Content-Length: -1\r\n", good, 400},
		"two lengths":                   {typ + "Content-Length: 3\r\nContent-Length: 4\r\n", good, 400},
		"shorter than declared":         {typ + "Content-Length: 9999\r\n", good, 408},
		"chunked without end":           {typ + "Transfer-Encoding: chunked\r\n", "4\r\n{\"a\"\r\n", 408},
		"chunked beyond the limit":      {typ + "Transfer-Encoding: chunked\r\n", strings.Repeat("10000\r\n"+strings.Repeat(" ", 0x10000)+"\r\n", 20), 413},
		"one byte in each chunk":        {typ + "Transfer-Encoding: chunked\r\n", strings.Repeat("1\r\n[\r\n", 1000) + "0\r\n\r\n", 400},
		"a chunk size that is none":     {typ + "Transfer-Encoding: chunked\r\n", "zz\r\nx\r\n", 400},
		"a chunk extension of a novel":  {typ + "Transfer-Encoding: chunked\r\n", "1;" + strings.Repeat("a", 100_000) + "\r\n{\r\n", 400},
		"a digest of something else":    jsonAttack(`{"email":"not an address"}`, 400),
		"a hundred thousand mistakes":   jsonAttack("["+strings.TrimSuffix(strings.Repeat(`"x",`, 9_999), ",")+"]", 400),
		"a name of a megabyte":          jsonAttack(`{"`+strings.Repeat("n", 900_000)+`":1}`, 400),
		"escapes without end":           jsonAttack(`{"a":"`+strings.Repeat(`\u0041`, 170_000)+`"}`, 400),
		"a password shown to nobody":    jsonAttack(`{"email":"x","password":"s3cr3t","name":"s3cr3t-name-that-is-a-password"}`, 400),
		"prototype pollution, by types": jsonAttack(with(`"__proto__":{"a":1},"age":{"$gt":""}`), 400),
	}
	return all
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":1,`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// The body reader's attack table: each is refused with a 4xx, tells nothing of what it was sent, and reaches
// no upstream; all at once need no more memory than a few.
func TestAttack_BodiesAreRefused(t *testing.T) {
	o := startOrigin(t)
	t.Setenv("ORIGIN", o.addr)
	g := startGateway(t, attackConfig)
	post(g.url+"/warm", `{"email":"ada@example.com","password":"correct horse","name":"Ada"}`).send(t).want(t, http.StatusOK)

	for name, a := range attacks() {
		t.Run(name, func(t *testing.T) {
			status, body, err := a.send(g.url)
			if err != nil || status != a.status {
				t.Errorf("status %d, %v; want %d: %.200s", status, err, a.status, body)
			}
			if strings.Contains(body, "s3cr3t") || strings.Contains(body, "validate:") {
				t.Errorf("the answer quotes the body: %s", body)
			}
		})
	}

	var done sync.WaitGroup
	for range 8 {
		for _, a := range attacks() {
			done.Go(func() {
				if status, _, err := a.send(g.url); err == nil && status != a.status {
					t.Errorf("in a crowd: status %d, want %d", status, a.status)
				}
			})
		}
	}
	done.Wait()
	peak, err := g.PeakRSS()
	if err != nil {
		t.Fatal(err)
	}
	if peak >>= 20; peak > 512 {
		t.Errorf("%d attacks at once took %d MiB", 8*len(attacks()), peak)
	} else {
		t.Logf("%d attacks, %d of them at once: at most %d MiB", 9*len(attacks()), 8*len(attacks()), peak)
	}
	post(g.url+"/after", `{"email":"ada@example.com","password":"correct horse","name":"Ada"}`).send(t).want(t, http.StatusOK)
	if strings.Contains(g.Log(), "panic") || strings.Contains(g.Log(), "s3cr3t") {
		t.Errorf("the log: %s", g.LogTail(20))
	}
}

// send sends the attack and reads the answer.
func (a *attack) send(url string) (status int, body string, err error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, "", err
	}
	head := "POST /attack HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n" + a.header + "\r\n"
	// The server may answer and close before it has read all.
	go func() { _, _ = io.Copy(conn, io.MultiReader(strings.NewReader(head), bytes.NewReader([]byte(a.body)))) }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	// What net/http itself refuses may be reset behind the answer's head.
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), nil
}

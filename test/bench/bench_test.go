package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestScenarios_NamesAndBaselinesHold(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range scenarios() {
		if seen[s.Name] {
			t.Errorf("scenario %q is there twice", s.Name)
		}
		seen[s.Name] = true
		names := make(map[string]bool)
		for _, c := range s.Contenders {
			if names[c.Name] {
				t.Errorf("scenario %s: contender %q is there twice", s.Name, c.Name)
			}
			names[c.Name] = true
		}
		if !names[s.Baseline] {
			t.Errorf("scenario %s: no contender is its baseline %q", s.Name, s.Baseline)
		}
	}
}

func TestWrkResult_RefusesWrongAnswers(t *testing.T) {
	refusal := Contender{Want: Answer{Status: 429}}
	for name, tc := range map[string]struct {
		contender Contender
		result    wrkResult
		ok        bool
	}{
		"all answered":                {Contender{}, wrkResult{Requests: 100, Duration: 1e6}, true},
		"one refused":                 {Contender{}, wrkResult{Requests: 100, Status: 1}, false},
		"one connection broken":       {Contender{}, wrkResult{Requests: 100, Read: 1}, false},
		"one timeout":                 {Contender{}, wrkResult{Requests: 100, Timeout: 1}, false},
		"nothing answered":            {Contender{}, wrkResult{}, false},
		"all refused as wanted":       {refusal, wrkResult{Requests: 100, Status: 100}, true},
		"the limit's one let through": {refusal, wrkResult{Requests: 100, Status: 99}, true},
		"limit not kept":              {refusal, wrkResult{Requests: 100, Status: 98}, false},
	} {
		_, err := tc.result.sample(tc.contender)
		if (err == nil) != tc.ok {
			t.Errorf("%s: sample() = %v, want success %v", name, err, tc.ok)
		}
	}
}

func TestParseWrk_LastLineCounts(t *testing.T) {
	out := "Running 5s test\n  12 requests in 5.00s\n\n" +
		`{"requests":12,"duration":5000000,"connect":0,"read":0,"write":0,"timeout":0,"status":0,"p50":81.0,"p99":190.5}` + "\n"
	r, err := parseWrk(out)
	if err != nil || r.Requests != 12 || r.P99 != 190.5 {
		t.Errorf("parseWrk() = %+v, %v", r, err)
	}
	if _, err := parseWrk("unable to connect to 127.0.0.1\n"); err == nil {
		t.Error("parseWrk() took a failure for a report")
	}
}

func TestMessages_WhateverTheReadsReturn(t *testing.T) {
	stream := "GET /a HTTP/1.1\r\nHost: x\r\n\r\n" +
		"POST /b HTTP/1.1\r\nContent-Length: 3\r\nHost: x\r\n\r\nabc" +
		"GET /c HTTP/1.1\r\n\r\n"
	for name, r := range map[string]io.Reader{
		"at once":      strings.NewReader(stream),
		"byte by byte": iotest.OneByteReader(strings.NewReader(stream)),
	} {
		m := messages{conn: r}
		for _, want := range []string{"GET /a HTTP/1.1", "POST /b HTTP/1.1", "GET /c HTTP/1.1"} {
			msg, err := m.next()
			if err != nil || string(firstLine(msg)) != want {
				t.Errorf("%s: next() = %q, %v, want %q", name, msg, err, want)
			}
		}
		if _, err := m.next(); err != io.EOF {
			t.Errorf("%s: next() at the end = %v, want EOF", name, err)
		}
	}
	long := messages{conn: strings.NewReader("GET /" + strings.Repeat("x", 1<<20))}
	if _, err := long.next(); err != errTooLarge {
		t.Errorf("next() of an endless head = %v, want %v", err, errTooLarge)
	}
}

func TestLoops_ForwardTheOriginsAnswer(t *testing.T) {
	origin, proxy := serveLoop(t, answer), ""
	proxy = serveLoop(t, func(c net.Conn) { forward(c, origin) })
	for _, addr := range []string{origin, proxy} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for path, want := range map[string][]byte{"/": cacheableAnswer, "/no-store": uncacheable} {
			if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: answer to %s = %.80q, %v", addr, path, got, err)
			}
		}
	}
}

func serveLoop(t *testing.T, serve func(net.Conn)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return ln.Addr().String()
}

func TestSummarize_MediansAndRatios(t *testing.T) {
	s := Scenario{Baseline: "a", Contenders: []Contender{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	sample := func(cpu time.Duration) Sample {
		return Sample{Requests: 10, CPU: cpu, Elapsed: time.Second}
	}
	r := summarize(s, []series{
		{samples: []Sample{sample(100), sample(900), sample(200)}},
		{samples: []Sample{sample(300), sample(500)}},
		{err: io.ErrUnexpectedEOF},
	})
	if a, b := r.Rows[0], r.Rows[1]; a.CPU != 20 || a.Spread != 4 || b.CPU != 40 || b.Ratio != 2 {
		t.Errorf("summarize() = %+v and %+v, want medians 20 and 40, spread 4, ratio 2", a, b)
	}
	if err := (report{Scenarios: []result{r}}).failures(); err == nil {
		t.Error("failures() = nil although one contender failed")
	}
}

func TestMakeTokens_ForgedDiffersOnlyInItsSignature(t *testing.T) {
	made, err := makeTokens(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	good, bad := made.tokens["RS256"], made.tokens[forged]
	at := strings.LastIndex(good, ".")
	if good == bad || good[:at] != bad[:at] || len(good) != len(bad) {
		t.Errorf("forged token %q of %q", bad, good)
	}
}

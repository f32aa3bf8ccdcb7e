package cache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What a field forbids must not get lost by what stands before or after it, if
// that is well formed.
func FuzzParseDirectives(f *testing.F) {
	for _, s := range []string{`max-age=1`, `a="b, c", private="x"`, `no-cache="a\"b"`, `x=",`, ``, `=`, `,,=""`, `max-age="`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := ParseDirectives([]string{s})
		for _, n := range []int64{d.MaxAge, d.SMaxAge, d.StaleWhileRevalidate, d.StaleIfError, d.MaxStale, d.MinFresh} {
			if n < invalid || n > maxDelta {
				t.Errorf("%q: %d is out of range", s, n)
			}
		}
		for _, name := range d.Fields {
			if !isToken(name) {
				t.Errorf("%q: listed field %q", s, name)
			}
		}
		after := ParseDirectives([]string{s + ", no-store"})
		if !after.NoStore && !after.Malformed {
			t.Errorf("%q hides a no-store that follows", s)
		}
		if before := ParseDirectives([]string{"no-store, " + s}); !before.NoStore {
			t.Errorf("%q hides a no-store that precedes", s)
		}
		if lines := ParseDirectives([]string{s, "no-store"}); !lines.NoStore {
			t.Errorf("%q hides a no-store on the next line", s)
		}
	})
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "0", "",
		"Sun, 31 Feb 1994 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:60 GMT",
	} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Unix()
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseDate(s, now)
		if !ok {
			return
		}
		// what we accept, written anew, is the same moment
		text := time.Unix(got, 0).UTC().Format(http.TimeFormat)
		if again, ok := ParseDate(text, now); len(text) == 29 && (!ok || again != got) {
			t.Errorf("ParseDate(%q) = %d, but %q is %d, %v", s, got, text, again, ok)
		}
		if want, err := http.ParseTime(s); err == nil && want.Unix() != got && !strings.Contains(s, "-") {
			t.Errorf("ParseDate(%q) = %d, net/http reads %d", s, got, want.Unix())
		}
	})
}

func FuzzParseAge(f *testing.F) {
	f.Add("7, 0")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, s string) {
		if n := parseAge([]string{s}); n < 0 || n > maxDelta {
			t.Errorf("parseAge(%q) = %d", s, n)
		}
	})
}

// Values that a server could tell apart must not become one variant by being
// spread over lines or names.
func FuzzVary(f *testing.F) {
	f.Add("Accept, Foo", "a, b", "c")
	f.Add("*", "", "")
	f.Fuzz(func(t *testing.T, field, a, b string) {
		names, ok := parseVary([]string{field})
		if !ok {
			return
		}
		if strings.Contains(field, "*") && slices.ContainsFunc(strings.Split(field, ","), func(s string) bool { return trimOWS(s) == "*" }) {
			t.Errorf("Vary: %q was accepted", field)
		}
		if len(names) == 0 || strings.ContainsAny(a+b, "\n") {
			return
		}
		name := names[0]
		x := appendVariant(nil, names[:1], http.Header{name: {a}})
		y := appendVariant(nil, names[:1], http.Header{name: {b}})
		absent := appendVariant(nil, names[:1], http.Header{})
		if string(x) == string(absent) {
			t.Errorf("%s: %q is like no field at all", name, a)
		}
		letters := func(s string) string {
			return strings.Map(func(r rune) rune {
				if r == ' ' || r == '\t' || r == ',' {
					return -1
				}
				return r
			}, s)
		}
		if name != "Accept-Language" && name != "Accept-Encoding" && string(x) == string(y) && letters(a) != letters(b) {
			t.Errorf("%s: %q and %q are one variant", name, a, b)
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-5, 3-", int64(0))
	f.Add("bytes=9223372036854775807-9223372036854775807", int64(10))
	f.Fuzz(func(t *testing.T, s string, size int64) {
		if size < 0 {
			return
		}
		parts, result := parseRange([]string{s}, size)
		if (result == rangeSome) != (len(parts) > 0) {
			t.Errorf("parseRange(%q, %d): %d parts, result %d", s, size, len(parts), result)
		}
		var sum int64
		for i, part := range parts {
			if part.start < 0 || part.length <= 0 || part.start+part.length > size {
				t.Errorf("parseRange(%q, %d): part %d is %+v", s, size, i, part)
			}
			sum += part.length
		}
		if sum > size {
			t.Errorf("parseRange(%q, %d) sends %d bytes", s, size, sum)
		}
		if part, total, ok := parseContentRange([]string{s}); ok && (part.start < 0 || part.length <= 0 || part.start+part.length > total) {
			t.Errorf("parseContentRange(%q) = %+v of %d", s, part, total)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	rules := Rules{}
	q := NewRequest("GET", nil, false)
	e, _ := rules.Admit(&q, &Response{Status: 200, Answered: 1795384200000, Header: http.Header{
		"Cache-Control": {"max-age=60"}, "Date": {"Sun, 22 Nov 2026 21:50:00 GMT"},
	}})
	e.key, e.body = "a\nb\nhttp:host/path", []byte("body")
	record := appendRecord(nil, &record{entry: e, tags: []string{"t"}, stamp: 7}, 5)
	f.Add(record, []byte("body"))
	f.Add([]byte{}, []byte{})
	f.Add([]byte{recordVersion}, []byte{})
	f.Fuzz(func(t *testing.T, p, body []byte) {
		r, err := parseRecord(p, body, 0)
		if err != nil {
			return
		}
		again, err := parseRecord(appendRecord(nil, r, 0), body, 0)
		if err != nil || again.entry.head != r.entry.head || again.entry.key != r.entry.key || again.stamp != r.stamp ||
			!slices.Equal(again.tags, r.tags) || again.entry.expires != r.entry.expires {
			t.Errorf("a record is not what it was after another trip: %v", err)
		}
	})
}

// FuzzDecide drives storing and deciding with random responses, requests and
// times and checks what must hold of every answer.
func FuzzDecide(f *testing.F) {
	f.Add(uint8(0), "max-age=60", "", "", "5", int64(30), uint8(0), false)
	f.Add(uint8(0), "public, s-maxage=10, stale-while-revalidate=60", "max-stale", "", "", int64(30), uint8(1), false)
	f.Add(uint8(1), "must-revalidate, max-age=1", "max-age=5, min-fresh=1", "no-store", "x", int64(2), uint8(3), true)
	f.Add(uint8(2), "no-cache, max-age=60", "", "max-age=100", "", int64(2), uint8(2), false)
	statuses := [...]int{200, 404, 500, 599, 206, 304, 201}
	f.Fuzz(func(t *testing.T, status uint8, control, asked, targeted, age string, later int64, who uint8, soft bool) {
		const start = 1795384200000
		if later < 0 || later > 1<<33 {
			return
		}
		h := http.Header{"Date": {time.UnixMilli(start).UTC().Format(http.TimeFormat)}}
		for name, v := range map[string]string{"Cache-Control": control, "Cdn-Cache-Control": targeted, "Age": age} {
			if v != "" {
				h[name] = []string{v}
			}
		}
		storing := NewRequest("GET", whoHeader(who), false)
		rules := Rules{TTL: 30_000, StaleWhileRevalidate: 5000, StaleIfError: 10_000, Disconnected: 20_000}
		res := &Response{Status: statuses[int(status)%len(statuses)], Header: h, Asked: start, Answered: start}
		e, _ := rules.Admit(&storing, res)
		d, targetedRules := responseDirectives(h)
		if e == nil {
			return
		}
		checkStored(t, e, &d, &storing, res)
		reader := whoHeader(who >> 2)
		reader["Cache-Control"] = []string{asked}
		q := NewRequest("GET", reader, false)
		now := start + 1000*later
		v := Decide(&q, e, soft, now)
		if v != Decide(&q, e, soft, now) {
			t.Error("Decide is not a function of its arguments")
		}
		fresh := now < e.expires && !soft
		served := v.Action == Serve || v.Action == ServeAndRefresh
		switch {
		case !served:
		case q.Credentials && !d.Public && !d.MustRevalidate && d.SMaxAge < 0:
			t.Errorf("credentials were answered with %q (targeted %v)", control, targetedRules)
		case q.Control.NoCache, q.Control.NoStore:
			t.Errorf("%q was answered from the cache", asked)
		case d.NoCache:
			t.Errorf("no-cache was answered without validation")
		case !fresh && (d.MustRevalidate || d.ProxyRevalidate):
			t.Errorf("a stale response with %q was used", control)
		case !fresh && now >= e.swr && !q.Control.MaxStaleAny && q.Control.MaxStale <= 0:
			t.Errorf("stale for %d ms beyond all windows", now-e.swr)
		case q.Control.MaxAge >= 0 && e.age(now) > 1000*q.Control.MaxAge:
			t.Errorf("age %d ms, but the request wants max-age=%d", e.age(now), q.Control.MaxAge)
		case e.age(now) < now-start:
			t.Errorf("an age of %d ms after %d ms", e.age(now), now-start)
		}
	})
}

func whoHeader(who uint8) http.Header {
	h := http.Header{}
	if who&1 != 0 {
		h["Authorization"] = []string{"x"}
	}
	if who&2 != 0 {
		h["Cookie"] = []string{"a=" + strconv.Itoa(int(who))}
	}
	return h
}

func checkStored(t *testing.T, e *Entry, d *Directives, q *Request, res *Response) {
	t.Helper()
	switch {
	case d.NoStore && (!d.MustUnderstand || http.StatusText(res.Status) == ""):
		t.Errorf("no-store was stored: %v", res.Header)
	case d.Private, d.Malformed:
		t.Errorf("stored: %v", res.Header)
	case q.Credentials && !d.Public && !d.MustRevalidate && d.SMaxAge < 0:
		t.Errorf("stored for credentials: %v", res.Header)
	case res.Status == 206 || res.Status == 304:
		t.Errorf("status %d was stored as a whole response", res.Status)
	case d.SMaxAge >= 0 && e.expires > res.Answered+1000*d.SMaxAge:
		t.Errorf("fresh for longer than s-maxage=%d", d.SMaxAge)
	case d.SMaxAge == absent && d.MaxAge >= 0 && e.expires > res.Answered+1000*d.MaxAge:
		t.Errorf("fresh for longer than max-age=%d", d.MaxAge)
	case e.get("Age") != "" || e.get("Set-Cookie") != "":
		t.Errorf("the stored header is %q", e.head)
	}
}

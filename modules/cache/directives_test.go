package cache

import (
	"slices"
	"testing"
	"time"
)

func TestParseDirectives(t *testing.T) {
	with := func(set func(d *Directives)) Directives {
		d := noDirectives
		set(&d)
		return d
	}
	for _, tc := range []struct {
		lines []string
		want  Directives
	}{
		{nil, noDirectives},
		{[]string{""}, noDirectives},
		{[]string{"max-age=60"}, with(func(d *Directives) { d.MaxAge = 60 })},
		{[]string{`MAX-AGE="60"`}, with(func(d *Directives) { d.MaxAge = 60 })},
		{[]string{"max-age=003600"}, with(func(d *Directives) { d.MaxAge = 3600 })},
		{[]string{"max-age=1, max-age=2"}, with(func(d *Directives) { d.MaxAge = 1 })},
		{[]string{"max-age=1", "max-age=2"}, with(func(d *Directives) { d.MaxAge = 1 })},
		{[]string{"max-age=99999999999999999999"}, with(func(d *Directives) { d.MaxAge = maxDelta })},
		{[]string{"max-age"}, with(func(d *Directives) { d.MaxAge = invalid })},
		{[]string{"max-age="}, with(func(d *Directives) { d.MaxAge = invalid })},
		{[]string{"max-age=-1"}, with(func(d *Directives) { d.MaxAge = invalid })},
		{[]string{"max-age=1.0"}, with(func(d *Directives) { d.MaxAge = invalid })},
		{[]string{"max-age='1'"}, with(func(d *Directives) { d.MaxAge = invalid })},
		{[]string{"max-age =1"}, with(func(d *Directives) { d.MaxAge = invalid })},
		{[]string{"max-age= 1"}, with(func(d *Directives) { d.MaxAge = invalid })},
		{[]string{`x="max-age=1, no-store", max-age=2`}, with(func(d *Directives) { d.MaxAge = 2 })},
		{[]string{`x="a\"b, no-store"`}, noDirectives},
		{[]string{`x="no end, no-store`}, with(func(d *Directives) { d.Malformed = true })},
		{[]string{`x=a"b, no-store`}, with(func(d *Directives) { d.Malformed = true })},
		{[]string{" , ,\tNo-Store , "}, with(func(d *Directives) { d.NoStore = true })},
		{[]string{"no-store=1"}, with(func(d *Directives) { d.NoStore = true })},
		{[]string{"no-cache"}, with(func(d *Directives) { d.NoCache = true })},
		{[]string{`no-cache="a, b"`}, with(func(d *Directives) { d.Fields = []string{"a", "b"} })},
		{[]string{`no-cache=""`}, with(func(d *Directives) { d.NoCache = true })},
		{[]string{`private="a", private`}, with(func(d *Directives) { d.Fields = []string{"a"}; d.Private = true })},
		{[]string{"private=a"}, with(func(d *Directives) { d.Private = true })},
		{[]string{"max-stale"}, with(func(d *Directives) { d.MaxStaleAny = true })},
		{[]string{"max-stale=5"}, with(func(d *Directives) { d.MaxStale = 5 })},
		{[]string{"nothing-to-see-here"}, noDirectives},
	} {
		got := ParseDirectives(tc.lines)
		if !slices.Equal(got.Fields, tc.want.Fields) {
			t.Errorf("ParseDirectives(%q).Fields = %q, want %q", tc.lines, got.Fields, tc.want.Fields)
		}
		got.Fields, tc.want.Fields = nil, nil
		if !same(got, tc.want) {
			t.Errorf("ParseDirectives(%q) = %+v, want %+v", tc.lines, got, tc.want)
		}
	}
}

func same(a, b Directives) bool {
	return a.NoStore == b.NoStore && a.NoCache == b.NoCache && a.Private == b.Private && a.Public == b.Public &&
		a.MustRevalidate == b.MustRevalidate && a.ProxyRevalidate == b.ProxyRevalidate &&
		a.MustUnderstand == b.MustUnderstand && a.OnlyIfCached == b.OnlyIfCached &&
		a.MaxStaleAny == b.MaxStaleAny && a.Malformed == b.Malformed && a.MaxAge == b.MaxAge &&
		a.SMaxAge == b.SMaxAge && a.StaleWhileRevalidate == b.StaleWhileRevalidate &&
		a.StaleIfError == b.StaleIfError && a.MaxStale == b.MaxStale && a.MinFresh == b.MinFresh
}

func TestParseTargeted(t *testing.T) {
	for _, tc := range []struct {
		line string
		ok   bool
		want int64 // max-age
	}{
		{"max-age=60", true, 60},
		{"foo, max-age=60;x=y", true, 60},
		{"max-age=60, public", true, 60},
		{"no-store", true, absent},
		{"max-age=99999999999", true, maxDelta},
		{"", false, absent},
		{"max-age=60, &&&", false, absent},
		{`max-age="60"`, false, absent},
		{"max-age=-1", false, absent},
		{"max-age=1.5", false, absent},
		{"max-age =60", false, absent},
	} {
		d, ok := parseTargeted([]string{tc.line})
		if ok != tc.ok || ok && d.MaxAge != tc.want {
			t.Errorf("parseTargeted(%q) = max-age %d, %v; want %d, %v", tc.line, d.MaxAge, ok, tc.want, tc.ok)
		}
	}
}

func TestParseAge(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		want  int64
	}{
		{nil, 0},
		{[]string{"7"}, 7},
		{[]string{"7, 0"}, 7},
		{[]string{"0", "7"}, 0},
		{[]string{"abc"}, 0},
		{[]string{"-7"}, 0},
		{[]string{"7.0"}, 0},
		{[]string{"99999999999"}, maxDelta},
	} {
		if got := parseAge(tc.lines); got != tc.want {
			t.Errorf("parseAge(%q) = %d, want %d", tc.lines, got, tc.want)
		}
	}
}

func TestParseDate(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Unix()
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC).Unix()
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "SUN, 06 nov 1994 08:49:37 gmt",
		"Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
	} {
		if got, ok := ParseDate(s, now); !ok || got != want {
			t.Errorf("ParseDate(%q) = %d, %v; want %d", s, got, ok, want)
		}
	}
	if got, _ := ParseDate("Thursday, 18-Aug-50 02:01:18 GMT", now); time.Unix(got, 0).UTC().Year() != 2050 {
		t.Errorf("a two-digit year within 50 years is in %d", time.Unix(got, 0).UTC().Year())
	}
	for _, s := range []string{
		"", "0", "-1", "Thu, 18 Aug 2050 02:01:18 UTC", "Thu, 18 Aug 2050 02:01:18 AEST", "Thu, 18 Aug 50 02:01:18 GMT",
		"Thu 18 Aug 2050 02:01:18 GMT", "Thu, 18  Aug  2050 02:01:18 GMT", "Thu, 18-Aug-2050 02:01:18 GMT",
		"Thu, 18 Aug 2050 02.01.18 GMT", "Thu, 18 Aug 2050 2:01:18 GMT", "Thu, 31 Feb 2050 02:01:18 GMT",
		"Thu, 00 Aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050 24:01:18 GMT", "Abc, 18 Aug 2050 02:01:18 GMT",
		"Thu, 18 Aug 2050 02:01:18 GMT ", "Thu, +8 Aug 2050 02:01:18 GMT",
	} {
		if got, ok := ParseDate(s, now); ok {
			t.Errorf("ParseDate(%q) = %d, want an error", s, got)
		}
	}
}

func TestParseVary(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		want  []string
		ok    bool
	}{
		{nil, nil, true},
		{[]string{"foo, Bar", "FOO"}, []string{"Bar", "Foo"}, true},
		{[]string{" , a,, "}, []string{"A"}, true},
		{[]string{"*"}, nil, false},
		{[]string{"", "*"}, nil, false},
		{[]string{"a, *"}, nil, false},
		{[]string{"a b"}, nil, false},
	} {
		got, ok := parseVary(tc.lines)
		if ok != tc.ok || ok && !slices.Equal(got, tc.want) {
			t.Errorf("parseVary(%q) = %q, %v; want %q, %v", tc.lines, got, ok, tc.want, tc.ok)
		}
	}
}

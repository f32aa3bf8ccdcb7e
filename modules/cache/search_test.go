package cache

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The examples of draft-ietf-httpbis-no-vary-search, 5 and 6.
func TestParseVariance(t *testing.T) {
	for field, want := range map[string]string{
		`params`:                             "*-",
		`params=?1`:                          "*-",
		`params=("a")`:                       "--&a",
		`params=("b" "a" "b")`:               "--&a&b",
		`params, except=("x")`:               "*-&x",
		`params, key-order, except=("x")`:    "*o&x",
		`key-order`:                          "-o",
		`key-order, unknown=7`:               "-o",
		`params=("%C3%A9+%E6%B0%97")`:        "--&%C3%A9+%E6%B0%97",
		`key-order=?0`:                       "",
		`params=?0`:                          "",
		`params=()`:                          "",
		`unknown-key`:                        "",
		`key-order="not a boolean"`:          "",
		`params="not a boolean"`:             "",
		`params=(not-a-string)`:              "",
		`params=("a"), except=("x")`:         "",
		`params=(), except=()`:               "",
		`params=?0, except=("x")`:            "",
		`params, except=(not-a-string)`:      "",
		`params, except="not an inner list"`: "",
		`params, except=?1`:                  "",
		`except=("x")`:                       "",
		`except=()`:                          "",
		`params, !`:                          "",
		``:                                   "",
		`params=("` + strings.Repeat("a", maxVariance) + `")`: "",
	} {
		got := ""
		if v := parseVariance([]string{field}); v != nil {
			got = v.id
			if again := parseVarianceID(v.id); again == nil || again.id != v.id {
				t.Errorf("%.40s: the id %q is not read back", field, v.id)
			}
		}
		if got != want {
			t.Errorf("parseVariance(%.40q) = %q, want %q", field, got, want)
		}
	}
}

func TestVariance_Equivalence(t *testing.T) {
	for _, tc := range []struct {
		field, a, b string
		same        bool
	}{
		{"key-order", "", "", true},
		{"key-order", "a=x", "%61=%78", true},
		{"key-order", "a=é", "a=%C3%A9", true},
		{"key-order", "a=%f6", "a=%ef%bf%bd", true},
		{"key-order", "a=x&&&&", "a=x", true},
		{"key-order", "a=", "a", true},
		{"key-order", "a=%20", "a=+", true},
		{"key-order", "a=%2B", "a=+", false},
		{"key-order", "a=1&b=2", "b=2&a=1", true},
		{"key-order", "a=1&a=2", "a=2&a=1", false},
		{"key-order", "a=1&b=2", "a=1&b=3", false},
		{"key-order", "a=1%26b=2", "a=1&b=2", false},
		{"key-order", "a%3D1=2", "a=1%3D2", false},
		{`params=("b")`, "a=1&b=2", "b=3&a=1&b=4", true},
		{`params=("b")`, "a=1&b=2", "a=2", false},
		{`params=("a")`, "b=1&c=2", "c=2&b=1", false},
		{"params", "a=1&b=2", "", true},
		{`params, except=("a")`, "a=1&b=2", "c=3&a=1", true},
		{`params, except=("a")`, "a=1&b=2", "c=3&a=2", false},
		{`params=("%zz")`, "%zz=1", "", true},
	} {
		v := parseVariance([]string{tc.field})
		a, b := string(v.appendQuery(nil, tc.a)), string(v.appendQuery(nil, tc.b))
		if (a == b) != tc.same {
			t.Errorf("%s: %q and %q: same = %v, want %v", tc.field, tc.a, tc.b, a == b, tc.same)
		}
	}
}

func FuzzVariance(f *testing.F) {
	f.Add(`params, except=("a"), key-order`, "a=1&b=2", "b=2&a=1")
	f.Add(`params=("%C3%A9+%E6")`, "%zz&=&&+", "")
	f.Fuzz(func(t *testing.T, field, a, b string) {
		v := parseVariance([]string{field})
		if v == nil {
			return
		}
		if again := parseVarianceID(v.id); again == nil || again.id != v.id {
			t.Errorf("%q: the id %q is not read back", field, v.id)
		}
		qa := string(v.appendQuery(nil, a))
		if strings.Contains(a+b, "\n") || qa != string(v.appendQuery(nil, b)) {
			return
		}
		// two queries that are alike stay so when the same is added to both
		if x, y := v.appendQuery(nil, a+"&q=1"), v.appendQuery(nil, b+"&q=1"); string(x) != string(y) {
			t.Errorf("%q: %q and %q are alike, but not with a parameter more", field, a, b)
		}
	})
}

func TestNoVarySearch(t *testing.T) {
	field, vary := `params, except=("id"), key-order`, ""
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		if field != "" {
			w.Header().Set("No-Vary-Search", field)
		}
		if vary != "" {
			w.Header().Set("Vary", vary)
		}
		_, err := fmt.Fprintf(w, "%s #%d", r.FormValue("id"), s.asked.Load())
		return err
	})
	wantText(t, s.get("/a?id=1&utm=x"), "1 #1")
	wantText(t, s.get("/a?utm=y&id=1"), "1 #1")
	wantText(t, s.get("/a?id=%31"), "1 #1")
	wantText(t, s.get("/a?id=2"), "2 #2")
	wantText(t, s.get("/b?id=1"), "1 #3")
	wantText(t, s.get("/a", "Host: other.example"), " #4")
	// a purge or a change of any URL of the path forgets it
	for _, change := range []func(){
		func() { s.do("POST", "/a?id=1&utm=z") },
		func() { s.h.purge(Purge{Kind: kindPrefix, Target: strings.TrimPrefix(s.URL, "http://") + "/a?id"}) },
		func() { s.h.purge(Purge{Kind: kindPrefix, Target: strings.TrimPrefix(s.URL, "http://") + "/"}) },
	} {
		s.get("/a?id=1&x=1")
		n := s.asked.Load()
		s.get("/a?id=1")
		s.wantAsked(n)
		change()
		n = s.asked.Load()
		s.get("/a?id=1")
		s.wantAsked(n + 1)
	}
	// with Vary beside it
	vary = "Accept-Language"
	wantText(t, s.get("/v?id=1&x=1", "Accept-Language: en"), fmt.Sprintf("1 #%d", s.asked.Load()))
	n := s.asked.Load()
	s.get("/v?id=1&x=2", "Accept-Language: en")
	s.wantAsked(n)
	s.get("/v?id=1&x=2", "Accept-Language: de")
	s.wantAsked(n + 1)
	s.get("/v?id=1&x=3", "Accept-Language: de")
	s.get("/v?id=1&x=4", "Accept-Language: en")
	s.wantAsked(n + 1)
	// a response that no longer says so is its URL's alone
	field, vary = "", ""
	s.get("/v?id=1", "Accept-Language: fr")
	n = s.asked.Load()
	s.get("/v?id=1", "Accept-Language: fr")
	s.wantAsked(n)
	s.get("/v?id=1&x=5", "Accept-Language: fr")
	s.wantAsked(n + 1)
}

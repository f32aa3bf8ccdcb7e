package backend

import (
	"strings"
	"testing"
)

func TestNormalizeEmail(t *testing.T) {
	long := strings.Repeat("a", 64)
	for name, tc := range map[string]struct {
		in, want string
		ok       bool
	}{
		"plain":                    {"ada@example.com", "ada@example.com", true},
		"case is not a difference": {"Ada@Example.COM", "ada@example.com", true},
		"tag":                      {"ada+x@example.com", "ada+x@example.com", true},
		"international domain":     {"ada@bücher.example", "ada@xn--bcher-kva.example", true},
		"longest local part":       {long + "@example.com", long + "@example.com", true},
		"local part too long":      {"a" + long + "@example.com", "", false},
		"display name":             {"Ada <ada@example.com>", "", false},
		"brackets":                 {"<ada@example.com>", "", false},
		"quoted local part":        {`"ada b"@example.com`, "", false},
		"address literal":          {"ada@[127.0.0.1]", "", false},
		"number as domain":         {"ada@127.0.0.1", "", false},
		"no dot in the domain":     {"ada@localhost", "", false},
		"two at signs":             {"ada@b@example.com", "", false},
		"two dots":                 {"ada..b@example.com", "", false},
		"dot at the end":           {"ada@example.com.", "", false},
		"Cyrillic a":               {"аda@example.com", "", false},
		"full-width at":            {"ada＠example.com", "", false},
		"line break":               {"ada@example.com\nBcc: x@y.z", "", false},
		"spaces around":            {" ada@example.com ", "", false},
		"list":                     {"ada@example.com,bob@example.com", "", false},
		"empty":                    {"", "", false},
		"too long":                 {"ada@" + strings.Repeat("a.", 130) + "com", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := NormalizeEmail(tc.in)
			if ok != tc.ok || ok && got != tc.want {
				t.Errorf("NormalizeEmail(%q) = %q, %v, want %q, %v", tc.in, got, ok, tc.want, tc.ok)
			}
		})
	}
}

func TestNewUser_ReportsEveryWrongField(t *testing.T) {
	age := 12
	n := NewUser{Email: "nope", Password: "short", Name: "A", Age: &age, Role: "root", Plan: "gold"}
	var got []string
	for _, f := range n.Normalize() {
		got = append(got, f.Field)
	}
	if want := "email password name age role plan"; strings.Join(got, " ") != want {
		t.Errorf("wrong fields = %v, want %s", got, want)
	}
}

func TestNewUser_Passwords(t *testing.T) {
	for name, tc := range map[string]struct {
		password string
		ok       bool
	}{
		"shortest":                   {"12345678", true},
		"one too short":              {"1234567", false},
		"only spaces":                {"          ", false},
		"only unusual spaces":        {strings.Repeat("\u2003", 9), false},
		"eight characters, not byte": {"äöüäöüäö", true},
		"longest":                    {strings.Repeat("x", 256), true},
		"too long":                   {strings.Repeat("x", 257), false},
		"control character":          {"1234567\x00", false},
		"broken UTF-8":               {"1234567\xff", false},
	} {
		t.Run(name, func(t *testing.T) {
			n := NewUser{Email: "a@b.co", Password: tc.password, Name: "Ada"}
			if wrong := n.Normalize(); (len(wrong) == 0) != tc.ok {
				t.Errorf("Normalize() of %q = %v, want ok %v", tc.password, wrong, tc.ok)
			}
		})
	}
}

func TestNewUser_SamePasswordFromTwoKeyboards(t *testing.T) {
	composed := NewUser{Email: "a@b.co", Password: "pässwörter", Name: "Ada"}
	decomposed := NewUser{Email: "a@b.co", Password: "pa\u0308sswo\u0308rter", Name: "Ada"}
	composed.Normalize()
	decomposed.Normalize()
	if composed.Password != decomposed.Password {
		t.Errorf("%q and %q differ after Normalize", composed.Password, decomposed.Password)
	}
}

func TestNewUser_Names(t *testing.T) {
	for name, ok := range map[string]bool{
		"Al": true, "  Al  ": true, " A ": false, strings.Repeat("x", 50): true, strings.Repeat("x", 51): false,
		"Ada\u202eevil": false, "Ada\nLovelace": false, "\u200d\u200d\u200d": false, "علی‌رضا": true, "\x00\x00\x00": false,
	} {
		n := NewUser{Email: "a@b.co", Password: "12345678", Name: name}
		if wrong := n.Normalize(); (len(wrong) == 0) != ok {
			t.Errorf("Normalize() with the name %q = %v, want ok %v", name, wrong, ok)
		}
	}
}

func TestPatch_Links(t *testing.T) {
	for link, ok := range map[string]bool{
		"https://example.com/a?b": true, "http://example.com": true, "javascript:alert(1)": false, "data:text/html,x": false,
		"//example.com": false, "https://user:pass@example.com": false, "": false, "https://": false,
	} {
		p := Patch{Website: Change[string]{Set: true, Value: &link}}
		if wrong := p.Normalize(); (len(wrong) == 0) != ok {
			t.Errorf("Normalize() with the website %q = %v, want ok %v", link, wrong, ok)
		}
	}
}

func TestPatch_NothingIsNoChange(t *testing.T) {
	if wrong := (&Patch{}).Normalize(); len(wrong) != 1 || wrong[0].Field != "body" {
		t.Errorf("Normalize() of an empty patch = %v, want a complaint about the body", wrong)
	}
}

func TestPatch_NewAddressIsNotVerified(t *testing.T) {
	u := User{Email: "a@b.co"}
	now := u.CreatedAt
	u.EmailVerifiedAt = &now
	same, other := "a@b.co", "c@d.co"
	(&Patch{Email: Change[string]{Set: true, Value: &same}}).Apply(&u)
	if u.EmailVerifiedAt == nil {
		t.Error("the same address again lost its verification")
	}
	(&Patch{Email: Change[string]{Set: true, Value: &other}}).Apply(&u)
	if u.EmailVerifiedAt != nil {
		t.Error("a new address kept the old one's verification")
	}
}

func TestMayAccess(t *testing.T) {
	user, admin := &Principal{ID: 1, Role: RoleUser}, &Principal{ID: 2, Role: RoleAdmin}
	for name, tc := range map[string]struct {
		who *Principal
		id  int64
		ok  bool
	}{
		"oneself": {user, 1, true}, "another": {user, 3, false}, "admin": {admin, 3, true}, "nobody": {nil, 1, false},
	} {
		if err := tc.who.MayAccess(tc.id); (err == nil) != tc.ok {
			t.Errorf("%s: MayAccess(%d) = %v, want ok %v", name, tc.id, err, tc.ok)
		}
	}
}

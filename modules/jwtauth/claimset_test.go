package jwtauth

import (
	"testing"
	"time"
)

// callerWith has the claims of a JSON object.
func callerWith(t *testing.T, claims string) *Caller {
	t.Helper()
	members, err := decodeObject([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return newRecord(0, &registered{}, members).caller("issuer", []string{"sub"})
}

func TestClaimSet_FindsClaims(t *testing.T) {
	c := callerWith(t, `{"sub":"u","n":12345678901234567890,"yes":true,"no":false,"nothing":null,"empty":"",
		"list":["","a",1,true],"mixed":["a",{"b":1}],"none":[],"deep":{"a":{"b":["x","y"]},"a.b":"whole","":1},
		"https://idp.example/role":"r","https://idp":{"example/role":"other"},"é":"ü\u0000"}`)
	for path, want := range map[string]string{
		"sub": "u", "n": "12345678901234567890", "yes": "true", "no": "false", "nothing": "", "empty": "",
		"list": ",a,1,true", "mixed": `["a",{"b":1}]`, "none": "", "deep.a.b": "whole", "deep.a": `{"b":["x","y"]}`,
		"https://idp.example/role": "r", "é": "ü\x00", "deep.": "1",
		"": "", ".": "", "sub.x": "", "list.0": "", "deep.a.c": "", "deep..a": "", "Sub": "", "su": "", "absent": "",
	} {
		if got := c.text(path); got != want {
			t.Errorf("claim %q = %q, want %q", path, got, want)
		}
	}
	if c.ID() != "u" || c.Identity.Issuer != "issuer" || c.subject() != "u" || c.tokenID() != "" {
		t.Errorf("caller %+v", c)
	}
}

func TestRecord_KeepsTimes(t *testing.T) {
	now := instantOf(time.Now())
	r := newRecord(7, &registered{Expires: now, Before: 1, IssuedAt: latest}, map[string]any{"sub": "u"})
	c := r.caller("", []string{"sub"})
	if r.issuer() != 7 || r.expires() != now || c.expires != now || c.before != 1 || c.issuedAt != latest {
		t.Errorf("issuer %d, expires %d, %+v", r.issuer(), r.expires(), c)
	}
}

func TestPolicy_JudgesWhatATokenSays(t *testing.T) {
	in := func(claim string, values ...string) policy { return policy{claims: []ClaimRule{{claim, values}}} }
	all := func(s ...string) policy { return policy{scopes: ScopeRule{All: s}} }
	anyOf := func(s ...string) policy { return policy{scopes: ScopeRule{Any: s}} }
	require := func(s ...string) policy { return policy{require: s} }
	for _, tc := range []struct {
		name, claims string
		rule         policy
		want         Reason
	}{
		{"nothing asked for", `{}`, policy{}, ReasonOK},
		{"nested claim", `{"address":{"country":"DE"}}`, in("address.country", "AT", "DE"), ReasonOK},
		{"nested claim of another value", `{"address":{"country":"FR"}}`, in("address.country", "AT", "DE"), ReasonClaim},
		{"nested claim missing", `{"address":"DE"}`, in("address.country", "DE"), ReasonClaim},
		{"one of a list", `{"realm_access":{"roles":["a","admin"]}}`, in("realm_access.roles", "admin"), ReasonOK},
		{"none of a list", `{"roles":["a"]}`, in("roles", "admin"), ReasonClaim},
		{"a list as it is written", `{"roles":["a","b"]}`, in("roles", "a,b"), ReasonClaim},
		{"a list in a list", `{"roles":[["admin"]]}`, in("roles", "admin"), ReasonClaim},
		{"an object of that name", `{"role":{"admin":true}}`, in("role", "admin"), ReasonClaim},
		{"null as text", `{"role":null}`, in("role", "", "null"), ReasonClaim},
		{"number", `{"level":3}`, in("level", "3"), ReasonOK},
		{"true", `{"staff":true}`, in("staff", "true"), ReasonOK},
		{"value in another case", `{"role":"Admin"}`, in("role", "admin"), ReasonClaim},
		{"required", `{"plan":"x"}`, require("plan"), ReasonOK},
		{"required false", `{"plan":false}`, require("plan"), ReasonOK},
		{"required and missing", `{}`, require("plan"), ReasonRequire},
		{"required and null", `{"plan":null}`, require("plan"), ReasonRequire},
		{"required and empty", `{"plan":""}`, require("plan"), ReasonRequire},
		{"all scopes", `{"scope":"a  b c"}`, all("a", "c"), ReasonOK},
		{"not all scopes", `{"scope":"a b"}`, all("a", "c"), ReasonScope},
		{"any scope", `{"scope":"b"}`, anyOf("a", "b"), ReasonOK},
		{"no scope of any", `{"scope":"c"}`, anyOf("a", "b"), ReasonScope},
		{"part of a scope", `{"scope":"users:reader"}`, all("users:read"), ReasonScope},
		{"scp as a list", `{"scp":["a","b"]}`, all("b"), ReasonOK},
		{"scp as text", `{"scp":"a b"}`, all("b"), ReasonOK},
		{"scp where scope is empty", `{"scope":" ","scp":["a"]}`, all("a"), ReasonOK},
		{"scp beside scope", `{"scope":"a","scp":["b"]}`, all("b"), ReasonScope},
		{"element with a space", `{"scp":["a b"]}`, all("a"), ReasonScope},
		{"no scope at all", `{}`, all("a"), ReasonScope},
	} {
		if got := tc.rule.judge(callerWith(t, tc.claims)); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

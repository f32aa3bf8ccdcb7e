package jwtauth

import (
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// algorithm ties a signature algorithm to the one kind of key it may be used
// with (RFC 8725, 3.1 and 3.2).
type algorithm struct {
	name   string
	kty    string // RSA, EC, OKP or oct
	crv    string // for EC and OKP
	secret int    // for oct: the shortest key in bytes, RFC 7518, 3.2
	method jwt.SigningMethod
}

// algorithms are all that Fairway verifies. `none` is not among them.
var algorithms = func() map[string]*algorithm {
	list := []*algorithm{
		{name: "HS256", kty: "oct", secret: 32, method: jwt.SigningMethodHS256},
		{name: "HS384", kty: "oct", secret: 48, method: jwt.SigningMethodHS384},
		{name: "HS512", kty: "oct", secret: 64, method: jwt.SigningMethodHS512},
		{name: "RS256", kty: "RSA", method: jwt.SigningMethodRS256},
		{name: "RS384", kty: "RSA", method: jwt.SigningMethodRS384},
		{name: "RS512", kty: "RSA", method: jwt.SigningMethodRS512},
		{name: "PS256", kty: "RSA", method: exactSalt(jwt.SigningMethodPS256)},
		{name: "PS384", kty: "RSA", method: exactSalt(jwt.SigningMethodPS384)},
		{name: "PS512", kty: "RSA", method: exactSalt(jwt.SigningMethodPS512)},
		{name: "ES256", kty: "EC", crv: "P-256", method: jwt.SigningMethodES256},
		{name: "ES384", kty: "EC", crv: "P-384", method: jwt.SigningMethodES384},
		{name: "ES512", kty: "EC", crv: "P-521", method: jwt.SigningMethodES512},
		{name: "EdDSA", kty: "OKP", crv: "Ed25519", method: jwt.SigningMethodEdDSA},
	}
	byName := make(map[string]*algorithm, len(list))
	for _, a := range list {
		byName[a.name] = a
	}
	return byName
}()

// exactSalt is a PSS method that verifies only salts as long as the hash, as
// RFC 7518, 3.5 demands; golang-jwt's own takes any length.
func exactSalt(m *jwt.SigningMethodRSAPSS) jwt.SigningMethod {
	return &jwt.SigningMethodRSAPSS{SigningMethodRSA: m.SigningMethodRSA, Options: m.Options}
}

// allowlist is the set of algorithms that an issuer may use.
type allowlist []*algorithm

func newAllowlist(names []string) (allowlist, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("algorithms are required, one or more of %s", algorithmNames())
	}
	var list allowlist
	for _, name := range names {
		a := algorithms[name]
		if a == nil {
			return nil, fmt.Errorf("algorithms: %q is not one of %s", name, algorithmNames())
		}
		if list.find(name) != nil {
			return nil, fmt.Errorf("algorithms: %q is given twice", name)
		}
		list = append(list, a)
	}
	if list.symmetric() && slices.ContainsFunc(list, func(a *algorithm) bool { return a.kty != "oct" }) {
		return nil, fmt.Errorf("algorithms: %s mixes HMAC with public-key algorithms; one issuer has one or the other (RFC 8725, 2.1)", strings.Join(names, " "))
	}
	return list, nil
}

// find returns the algorithm of exactly that name, or nil.
func (l allowlist) find(name string) *algorithm {
	for _, a := range l {
		if a.name == name {
			return a
		}
	}
	return nil
}

// symmetric reports whether a shared secret may verify.
func (l allowlist) symmetric() bool {
	return slices.ContainsFunc(l, func(a *algorithm) bool { return a.kty == "oct" })
}

func (l allowlist) names() []string {
	names := make([]string, len(l))
	for i, a := range l {
		names[i] = a.name
	}
	return names
}

func algorithmNames() string {
	names := make([]string, 0, len(algorithms))
	for name := range algorithms {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

package jwtauth

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func TestParseJWKS_BadKeySkipsOnlyItself(t *testing.T) {
	k := testKeys()
	good := jwkOf("good", "", k.ec)
	rsaJWK, ecJWK, edJWK := jwkOf("bad", "", k.rsa), jwkOf("bad", "", k.otherEC), jwkOf("bad", "", k.ed)
	short, _ := new(big.Int).SetString(strings.Repeat("f", 255), 16) // 1020 bits
	for _, tc := range []struct {
		name string
		jwk  map[string]any
		want string // "": silently left out
	}{
		{"RSA of 1020 bits", with(rsaJWK, map[string]any{"n": b64(short.Bytes())}), "1020 bits"},
		{"RSA of 10000 bits", with(rsaJWK, map[string]any{"n": b64(new(big.Int).SetBit(big.NewInt(1), 9999, 1).Bytes())}), "at most 8192"},
		{"RSA exponent 1", with(rsaJWK, map[string]any{"e": "AQ"}), "exponent 1 "},
		{"RSA exponent 3", with(rsaJWK, map[string]any{"e": "Aw"}), "exponent 3 "},
		{"RSA exponent even", with(rsaJWK, map[string]any{"e": "AQAC"}), "exponent 65538 "},
		{"RSA exponent huge", with(rsaJWK, map[string]any{"e": b64(make([]byte, 300)) + "AB"}), ""},
		{"RSA modulus even", with(rsaJWK, map[string]any{"n": b64(new(big.Int).Sub(k.rsa.N, big.NewInt(1)).Bytes())}), "small factor"},
		{"RSA modulus divisible by 3", with(rsaJWK, map[string]any{"n": b64(new(big.Int).Mul(k.rsa.N, big.NewInt(3)).Bytes())}), "small factor"},
		{"RSA of the broken generator", with(rsaJWK, map[string]any{"n": b64(rocaModulus().Bytes())}), "ROCA"},
		{"RSA without n", with(rsaJWK, map[string]any{"n": nil}), "n is missing"},
		{"RSA with its private part", with(rsaJWK, map[string]any{"d": "AQAB"}), "private key"},
		{"RSA with padding", with(rsaJWK, map[string]any{"e": "AQAB="}), "not base64url"},
		{"RSA with a line break", with(rsaJWK, map[string]any{"e": "AQ\nAB"}), "not base64url"},
		{"RSA alg of EC", with(rsaJWK, map[string]any{"alg": "ES256"}), `alg "ES256" does not go with`},
		{"alg none", with(rsaJWK, map[string]any{"alg": "none"}), `alg "none" does not go with`},
		{"alg of encryption", with(rsaJWK, map[string]any{"alg": "RSA-OAEP"}), "does not go with"},
		{"EC point off the curve", with(ecJWK, map[string]any{"y": ecJWK["x"]}), "no point of the curve"},
		{"EC point zero", with(ecJWK, map[string]any{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}), "no point of the curve"},
		{"EC coordinate of the wrong size", with(ecJWK, map[string]any{"x": b64(make([]byte, 31))}), "x has 31 bytes, not 32"},
		{"EC of P-256 said to be P-384", with(ecJWK, map[string]any{"crv": "P-384"}), "not 48"},
		{"EC of secp256k1", with(ecJWK, map[string]any{"crv": "secp256k1"}), `crv "secp256k1"`},
		{"EC with alg of another curve", with(ecJWK, map[string]any{"alg": "ES384"}), "does not go with"},
		{"Ed25519 of small order", with(edJWK, map[string]any{"x": b64(append([]byte{1}, make([]byte, 31)...))}), "small order"},
		{"Ed25519 of order 8", with(edJWK, map[string]any{"x": b64(orderEight())}), "small order"},
		{"Ed25519 too short", with(edJWK, map[string]any{"x": b64(make([]byte, 31))}), "31 bytes"},
		{"Ed448", with(edJWK, map[string]any{"crv": "Ed448"}), `crv "Ed448"`},
		{"kty unknown", map[string]any{"kty": "AKP"}, `kty "AKP"`},
		{"kty missing", map[string]any{"n": "AQAB"}, `kty ""`},
		{"kty in another case", with(rsaJWK, map[string]any{"kty": "rsa"}), `kty "rsa"`},
		{"kid that is a number", with(rsaJWK, map[string]any{"kid": 1}), "kid is not a string"},
		{"key_ops that is text", with(rsaJWK, map[string]any{"key_ops": "verify"}), "key_ops is not an array"},
		{"use enc", with(rsaJWK, map[string]any{"use": "enc"}), ""},
		{"key_ops encrypt", with(rsaJWK, map[string]any{"key_ops": []string{"encrypt"}}), ""},
		{"a secret where none is allowed", jwkOf("bad", "HS256", k.secret), ""},
	} {
		allowed, _ := newAllowlist(publicAlgorithms)
		keys, problems, err := parseJWKS(jwks(tc.jwk, good), allowed)
		if err != nil || len(keys) == 0 || keys[len(keys)-1].kid != "good" {
			t.Errorf("%s: keys %v, %v; want the good one", tc.name, keys, err)
			continue
		}
		if len(keys) != 1 {
			t.Errorf("%s: the key is taken", tc.name)
		}
		if said := fmt.Sprint(problems); tc.want != "" && !strings.Contains(said, tc.want) {
			t.Errorf("%s: problems %s, want %q", tc.name, said, tc.want)
		}
	}
}

// orderEight is a point of order 8 (Cremers and Jackson, 2019, table 1).
func orderEight() []byte {
	b, err := hex.DecodeString("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
	if err != nil {
		panic(err)
	}
	return b
}

func TestParseJWKS_Sets(t *testing.T) {
	k := testKeys()
	public, _ := newAllowlist(publicAlgorithms)
	secret, _ := newAllowlist([]string{"HS256", "HS384", "HS512"})
	text := func(s string) []byte { return []byte(s) }
	for _, tc := range []struct {
		name     string
		document []byte
		allowed  allowlist
		want     int // keys; -1: an error
	}{
		{"public keys", publicKeySet(), public, 5},
		{"secrets", jwks(jwkOf("a", "HS256", k.secret)), secret, 1},
		{"secret too short for any", jwks(jwkOf("a", "", k.secret[:31])), secret, 0},
		{"secret long enough for one", jwks(jwkOf("a", "", k.secret[:32])), secret, 1},
		{"secret too short for its alg", jwks(jwkOf("a", "HS512", k.secret[:32])), secret, 0},
		{"secrets beside public keys are public", jwks(jwkOf("a", "HS256", k.secret), jwkOf("b", "", k.ec)), secret, 0},
		{"secrets where public keys are wanted", jwks(jwkOf("a", "HS256", k.secret), jwkOf("b", "", k.ec)), public, 1},
		{"two keys of one kid", jwks(jwkOf("a", "", k.ec), jwkOf("a", "", k.otherEC)), public, 0},
		{"a good and a broken key of one kid", jwks(jwkOf("a", "", k.ec), with(jwkOf("a", "", k.ec), map[string]any{"x": "AA"})), public, 0},
		{"two types of one kid", jwks(jwkOf("a", "", k.ec), jwkOf("a", "", k.ed)), public, 2},
		{"the same key twice", jwks(jwkOf("a", "", k.ec), jwkOf("a", "", k.ec)), public, 1},
		{"one key for two algorithms", jwks(jwkOf("a", "RS256", k.rsa), jwkOf("a", "PS256", k.rsa)), public, 2},
		{"two keys without kid", jwks(jwkOf("", "", k.ec), jwkOf("", "", k.otherEC)), public, 2},
		{"unknown members", text(`{"keys":[],"x":1}`), public, 0},
		{"members of any type", text(`{"keys":[null,1,"x",[],true]}`), public, 0},
		{"no keys", text(`{}`), public, -1},
		{"keys an object", text(`{"keys":{}}`), public, -1},
		{"keys twice", text(`{"keys":[],"keys":[]}`), public, -1},
		{"a list", text(`[]`), public, -1},
		{"HTML", text(`<html>`), public, -1},
		{"nothing", nil, public, -1},
		{"more behind it", text(`{"keys":[]}{}`), public, -1},
		{"201 keys", text(`{"keys":[` + strings.Repeat("{},", 200) + `{}]}`), public, -1},
		{"deep nesting", text(`{"keys":[` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `]}`), public, -1},
	} {
		keys, _, err := parseJWKS(tc.document, tc.allowed)
		if got := len(keys); (err != nil) != (tc.want < 0) || err == nil && got != tc.want {
			t.Errorf("%s: %d keys, %v; want %d", tc.name, got, err, tc.want)
		}
	}
}

// rocaModulus looks like one of the broken generator: modulo every small prime
// it is a power of 65537.
func rocaModulus() *big.Int {
	m := big.NewInt(1)
	for _, p := range smallPrimes {
		if p <= 701 {
			m.Mul(m, new(big.Int).SetUint64(p))
		}
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(1234567), m)
	step := new(big.Int).Mul(m, big.NewInt(2))
	if n.Bit(0) == 0 {
		n.Add(n, m)
	}
	for n.BitLen() < 2048 {
		n.Add(n, step)
		step.Lsh(step, 1)
	}
	for hasSmallFactor(n) {
		n.Add(n, new(big.Int).Mul(m, big.NewInt(2)))
	}
	return n
}

func TestKey_SoundOnesAreNotROCA(t *testing.T) {
	for _, k := range []*rsa.PrivateKey{testKeys().rsa, testKeys().otherRSA} {
		if isROCA(k.N) {
			t.Error("a sound modulus is taken for one of the broken generator")
		}
	}
	if !isROCA(rocaModulus()) {
		t.Error("a modulus of the broken generator is not recognised")
	}
}

func TestKey_FingerprintTellsKeysApart(t *testing.T) {
	k := testKeys()
	seen := map[string]string{}
	for name, material := range map[string]any{
		"rsa": &k.rsa.PublicKey, "rsa2": &k.otherRSA.PublicKey, "ec": &k.ec.PublicKey, "ec2": &k.otherEC.PublicKey,
		"ed": k.ed.Public().(ed25519.PublicKey), "secret": k.secret, "secret2": k.secret[1:],
	} {
		for _, kid := range []string{"", "a"} {
			made, err := newKey(kid, "", material)
			if err != nil {
				t.Fatal(err)
			}
			if other, found := seen[made.print]; found {
				t.Errorf("%s with kid %q has the fingerprint of %s", name, kid, other)
			}
			seen[made.print] = name + " " + kid
		}
	}
}

func TestDecodeObject_KeepsNumbers(t *testing.T) {
	got, err := decodeObject([]byte(`{"a":12345678901234567890,"b":[1.50,{"c":null}],"d":"\u00e9"} `))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(got)
	if want := `{"a":12345678901234567890,"b":[1.50,{"c":null}],"d":"é"}`; string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
}

func TestNewKey_RefusesOtherCurves(t *testing.T) {
	if _, err := curveName(elliptic.P224()); err == nil {
		t.Error("P-224 is taken")
	}
}

package jwtauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"

	"filippo.io/edwards25519"
)

// Bounds of RSA keys. Below is weak (RFC 7518, 3.3); above, a hostile key set
// could make every verification slow.
const (
	minRSABits     = 2048
	maxRSABits     = 8192
	minRSAExponent = 65537
)

// key verifies signatures. It is immutable.
type key struct {
	kid      string
	alg      string // the one algorithm it may be used with, or "" for any of its type
	kty, crv string
	material any    // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, []byte
	print    string // identifies kid, alg and material; reveals no secret
}

// newKey checks the strength of the material and names its type.
func newKey(kid, alg string, material any) (*key, error) {
	k := &key{kid: kid, alg: alg, material: material}
	var err error
	switch m := material.(type) {
	case *rsa.PublicKey:
		k.kty, err = "RSA", checkRSA(m)
	case *ecdsa.PublicKey:
		k.kty = "EC"
		k.crv, err = curveName(m.Curve)
	case ed25519.PublicKey:
		k.kty, k.crv, err = "OKP", "Ed25519", checkEd25519(m)
	case []byte:
		k.kty, err = "oct", checkSecret(m)
	default:
		err = fmt.Errorf("keys of type %T cannot verify tokens", material)
	}
	if err != nil {
		return nil, err
	}
	if a := algorithms[alg]; alg != "" && (a == nil || !k.suits(a)) {
		return nil, fmt.Errorf("alg %q does not go with this %s key", alg, k.describe())
	}
	k.print = k.fingerprint()
	return k, nil
}

// fits reports whether the key may be used with the algorithm.
func (k *key) fits(a *algorithm) bool {
	return (k.alg == "" || k.alg == a.name) && k.suits(a)
}

// suits compares only type, curve and size.
func (k *key) suits(a *algorithm) bool {
	if k.kty != a.kty || k.crv != a.crv {
		return false
	}
	secret, ok := k.material.([]byte)
	return !ok || len(secret) >= a.secret
}

func (k *key) describe() string {
	switch m := k.material.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d bit", m.N.BitLen())
	case []byte:
		return fmt.Sprintf("%d byte secret", len(m))
	default:
		return k.crv
	}
}

// fingerprint hashes what identifies the key. A secret is hashed twice with a
// label, and cut, so that it cannot be checked against other uses of it.
func (k *key) fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "fairway key\x00%q %q %s %s\x00", k.kid, k.alg, k.kty, k.crv)
	switch m := k.material.(type) {
	case *rsa.PublicKey:
		fmt.Fprintf(h, "%x %x", m.N, m.E)
	case *ecdsa.PublicKey:
		point, _ := m.Bytes()
		h.Write(point)
	case ed25519.PublicKey:
		h.Write(m)
	case []byte:
		inner := sha256.Sum256(m)
		h.Write(inner[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

func curveName(c elliptic.Curve) (string, error) {
	switch c {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
		return c.Params().Name, nil
	default:
		return "", fmt.Errorf("curve %s is not supported", c.Params().Name)
	}
}

func checkRSA(k *rsa.PublicKey) error {
	switch bits := k.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("RSA key has %d bits, at least %d are needed (RFC 7518, 3.3)", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("RSA key has %d bits, at most %d are allowed", bits, maxRSABits)
	case k.E < minRSAExponent || k.E%2 == 0:
		return fmt.Errorf("RSA exponent %d is not an odd number of at least %d (FIPS 186-5, A.1.1)", k.E, minRSAExponent)
	case hasSmallFactor(k.N):
		return errors.New("RSA modulus has a small factor")
	case isROCA(k.N):
		return errors.New("RSA key was made by a broken generator (ROCA, CVE-2017-15361)")
	}
	return nil
}

// smallPrimes are the odd primes below 2000.
var smallPrimes = func() []uint64 {
	var primes []uint64
next:
	for n := uint64(3); n < 2000; n += 2 {
		for _, p := range primes {
			if n%p == 0 {
				continue next
			}
		}
		primes = append(primes, n)
	}
	return primes
}()

func hasSmallFactor(n *big.Int) bool {
	if n.Bit(0) == 0 {
		return true
	}
	rest, p := new(big.Int), new(big.Int)
	for _, prime := range smallPrimes {
		if rest.Mod(n, p.SetUint64(prime)).Sign() == 0 {
			return true
		}
	}
	return false
}

// isROCA tells moduli of the broken Infineon generator: modulo every small
// prime they are powers of 65537 (Nemec et al., CCS 2017, section 2.4). A sound
// modulus passes as one of them with a chance of about 2^-27 at 39 primes, and
// far less at more.
func isROCA(n *big.Int) bool {
	rest, p := new(big.Int), new(big.Int)
	for _, prime := range smallPrimes {
		if prime > 701 { // the largest prime of the paper's generator M
			break
		}
		if !isPower(rest.Mod(n, p.SetUint64(prime)).Uint64(), 65537%prime, prime) {
			return false
		}
	}
	return true
}

// isPower reports whether n is a power of base modulo prime.
func isPower(n, base, prime uint64) bool {
	for power, i := uint64(1), uint64(0); i < prime; i++ {
		if power == n {
			return true
		}
		power = power * base % prime
	}
	return false
}

// checkEd25519 refuses what is no point of the curve and points of small order,
// under which one signature fits every message.
func checkEd25519(k ed25519.PublicKey) error {
	if len(k) != ed25519.PublicKeySize {
		return fmt.Errorf("Ed25519 key has %d bytes, not %d", len(k), ed25519.PublicKeySize)
	}
	point, err := new(edwards25519.Point).SetBytes(k)
	if err != nil {
		return errors.New("Ed25519 key is not a point of the curve")
	}
	if new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return errors.New("Ed25519 key is a point of small order")
	}
	return nil
}

// publishedSecrets stand in the documentation of well-known tools.
var publishedSecrets = []string{
	"a-string-secret-at-least-256-bits-long",
	"a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
	"your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret",
	"qwertyuiopasdfghjklzxcvbnm123456",
}

// checkSecret refuses secrets that anyone would try first. That the secret is
// long enough depends on the algorithm and is left to suits.
func checkSecret(secret []byte) error {
	if len(secret) == 0 {
		return errors.New("the secret is empty")
	}
	if shortest := algorithms["HS256"].secret; len(secret) < shortest {
		return fmt.Errorf("the secret has %d bytes, at least %d are needed (RFC 7518, 3.2)", len(secret), shortest)
	}
	for _, published := range publishedSecrets {
		if string(secret) == published {
			return errors.New("the secret stands in public documentation")
		}
	}
	distinct := map[byte]bool{}
	for _, b := range secret {
		distinct[b] = true
	}
	if len(distinct) < 6 {
		return fmt.Errorf("the secret consists of only %d different bytes", len(distinct))
	}
	return nil
}

// strictBase64 is base64url without padding, in its one canonical form
// (RFC 7515, 2). Unlike encoding/base64 it takes no CR or LF.
func strictBase64(s string) ([]byte, error) {
	if !isBase64URL(s) {
		return nil, errors.New("not base64url without padding")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func isBase64URL(s string) bool {
	for i := range len(s) {
		if !base64URLAlphabet[s[i]] {
			return false
		}
	}
	return true
}

var base64URLAlphabet = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		t[c] = true
	}
	return t
}()

package jwtauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// maxKeys bounds a key set. The largest public ones hold about twenty.
const maxKeys = 200

// errUnused marks keys that are sound but serve something else, such as
// encryption. They are left out without a warning.
var errUnused = errors.New("key does not serve signatures")

// parseJWKS reads a key set (RFC 7517, 5) and returns the keys that serve one of
// the allowed algorithms. A key that is weak or broken skips only itself;
// problems says why, one line each.
func parseJWKS(b []byte, allowed allowlist) (keys []*key, problems []error, err error) {
	document, err := decodeObject(b)
	if err != nil {
		return nil, nil, fmt.Errorf("key set: %w", err)
	}
	list, ok := document["keys"].([]any)
	if !ok {
		return nil, nil, errors.New(`key set has no array "keys"`)
	}
	if len(list) > maxKeys {
		return nil, nil, fmt.Errorf("key set holds %d keys, at most %d are allowed", len(list), maxKeys)
	}
	broken := map[string]bool{}
	for i, item := range list {
		k, err := parseSetMember(item, allowed)
		switch {
		case errors.Is(err, errUnused):
		case err != nil:
			problems = append(problems, fmt.Errorf("key %d: %w", i, err))
			broken[setName(item)] = true
		default:
			keys = append(keys, k)
		}
	}
	// A key that could not be read may be the one that a kid means.
	keys = slices.DeleteFunc(keys, func(k *key) bool { return k.kid != "" && broken[k.kty+" "+k.kid] })
	keys = dropPublishedSecrets(keys, &problems)
	keys = slices.DeleteFunc(keys, func(k *key) bool { return !slices.ContainsFunc(allowed, k.fits) })
	keys, ambiguous := dropAmbiguous(keys, allowed)
	return keys, append(problems, ambiguous...), nil
}

// setName is the type and the kid of a key that could not be read.
func setName(item any) string {
	jwk, _ := item.(map[string]any)
	kty, _ := jwk["kty"].(string)
	kid, _ := jwk["kid"].(string)
	return kty + " " + kid
}

func parseSetMember(item any, allowed allowlist) (*key, error) {
	jwk, ok := item.(map[string]any)
	if !ok {
		return nil, errNotObject
	}
	if jwk["kty"] == "oct" && !allowed.symmetric() {
		return nil, errUnused
	}
	return parseJWK(jwk)
}

// dropPublishedSecrets removes the secrets of a set that also holds public
// keys: such a set is meant to be published, so its secrets are none.
func dropPublishedSecrets(keys []*key, problems *[]error) []*key {
	isSecret := func(k *key) bool { return k.kty == "oct" }
	if !slices.ContainsFunc(keys, isSecret) || !slices.ContainsFunc(keys, func(k *key) bool { return !isSecret(k) }) {
		return keys
	}
	*problems = append(*problems, errors.New("secrets beside public keys are ignored"))
	return slices.DeleteFunc(keys, isSecret)
}

// dropAmbiguous removes keys with one kid that could verify the same algorithm:
// which of them is meant cannot be told. The same key listed twice is kept once.
func dropAmbiguous(keys []*key, allowed allowlist) ([]*key, []error) {
	var kept []*key
	var problems []error
	for i, k := range keys {
		if slices.ContainsFunc(keys[:i], func(o *key) bool { return o.print == k.print }) {
			continue
		}
		if slices.ContainsFunc(keys, func(o *key) bool { return clash(k, o, allowed) }) {
			problems = append(problems, fmt.Errorf("two keys have the kid %q", k.kid))
			continue
		}
		kept = append(kept, k)
	}
	return kept, problems
}

func clash(a, b *key, allowed allowlist) bool {
	if a.kid == "" || a.kid != b.kid || a.print == b.print || sameMaterial(a, b) {
		return false
	}
	return slices.ContainsFunc(allowed, func(alg *algorithm) bool { return a.fits(alg) && b.fits(alg) })
}

func sameMaterial(a, b *key) bool {
	public, ok := a.material.(interface {
		Equal(other crypto.PublicKey) bool
	})
	return ok && public.Equal(b.material)
}

// parseJWK reads one key (RFC 7517, 4; RFC 7518, 6; RFC 8037, 2). Certificates
// and URLs in it (x5c, x5u) are never used.
func parseJWK(jwk map[string]any) (*key, error) {
	kid, err := optionalString(jwk, "kid")
	if err != nil {
		return nil, err
	}
	alg, err := optionalString(jwk, "alg")
	if err != nil {
		return nil, err
	}
	if err := checkPurpose(jwk); err != nil {
		return nil, err
	}
	material, err := parseMaterial(jwk)
	if err != nil {
		return nil, err
	}
	return newKey(kid, alg, material)
}

// checkPurpose looks at use and key_ops (RFC 7517, 4.2 and 4.3).
func checkPurpose(jwk map[string]any) error {
	use, err := optionalString(jwk, "use")
	if err != nil {
		return err
	}
	if use != "" && use != "sig" {
		return errUnused
	}
	ops, present := jwk["key_ops"]
	if !present {
		return nil
	}
	list, ok := ops.([]any)
	if !ok {
		return errors.New("key_ops is not an array")
	}
	if !slices.Contains(list, any("verify")) {
		return errUnused
	}
	return nil
}

func parseMaterial(jwk map[string]any) (any, error) {
	kty, err := optionalString(jwk, "kty")
	if err != nil {
		return nil, err
	}
	if _, private := jwk["d"]; private {
		return nil, errors.New("private key in a place for public keys; replace it, it is no secret any more")
	}
	switch kty {
	case "RSA":
		return parseRSA(jwk)
	case "EC":
		return parseEC(jwk)
	case "OKP":
		return parseOKP(jwk)
	case "oct":
		return requiredBytes(jwk, "k")
	default:
		return nil, fmt.Errorf("kty %q is not one of EC, OKP, RSA, oct", kty)
	}
}

func parseRSA(jwk map[string]any) (any, error) {
	n, err := requiredBytes(jwk, "n")
	if err != nil {
		return nil, err
	}
	e, err := requiredBytes(jwk, "e")
	if err != nil {
		return nil, err
	}
	exponent := new(big.Int).SetBytes(e)
	if !exponent.IsInt64() || exponent.Int64() > 1<<31-1 {
		return nil, errors.New("RSA exponent is too large")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
}

func parseEC(jwk map[string]any) (any, error) {
	crv, err := optionalString(jwk, "crv")
	if err != nil {
		return nil, err
	}
	var curve elliptic.Curve
	switch crv {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, fmt.Errorf("crv %q is not one of P-256, P-384, P-521", crv)
	}
	size := (curve.Params().BitSize + 7) / 8
	point := []byte{4} // uncompressed
	for _, name := range []string{"x", "y"} {
		coordinate, err := requiredBytes(jwk, name)
		if err != nil {
			return nil, err
		}
		if len(coordinate) != size { // RFC 7518, 6.2.1.2: the full size
			return nil, fmt.Errorf("%s has %d bytes, not %d", name, len(coordinate), size)
		}
		point = append(point, coordinate...)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, errors.New("x and y are no point of the curve")
	}
	return public, nil
}

func parseOKP(jwk map[string]any) (any, error) {
	crv, err := optionalString(jwk, "crv")
	if err != nil {
		return nil, err
	}
	if crv != "Ed25519" {
		return nil, fmt.Errorf("crv %q is not Ed25519", crv)
	}
	x, err := requiredBytes(jwk, "x")
	return ed25519.PublicKey(x), err
}

func optionalString(object map[string]any, name string) (string, error) {
	v, present := object[name]
	if !present {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is not a string", name)
	}
	return s, nil
}

func requiredBytes(object map[string]any, name string) ([]byte, error) {
	s, err := optionalString(object, name)
	if err != nil {
		return nil, err
	}
	if s == "" {
		return nil, fmt.Errorf("%s is missing", name)
	}
	b, err := strictBase64(s)
	if err != nil {
		return nil, fmt.Errorf("%s is %w", name, err)
	}
	return b, nil
}

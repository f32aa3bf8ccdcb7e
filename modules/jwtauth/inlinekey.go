package jwtauth

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// parseInlineKey reads the `key` option: PEM, a JWK, or a secret. What kind is
// meant is told by its look, and must fit the allowlist, so that a public key
// can never become an HMAC secret (RFC 8725, 2.1).
func parseInlineKey(text string, allowed allowlist) (*key, error) {
	k, err := readInlineKey(strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	if k.kid = ""; !slices.ContainsFunc(allowed, k.fits) {
		return nil, fmt.Errorf("the key (%s) goes with none of the algorithms %s", k.describe(), strings.Join(allowed.names(), " "))
	}
	for _, a := range allowed {
		if !k.fits(a) {
			return nil, fmt.Errorf("the key (%s) does not go with algorithm %s", k.describe(), a.name)
		}
	}
	return k, nil
}

func readInlineKey(text string) (*key, error) {
	switch {
	case strings.HasPrefix(text, "-----BEGIN"):
		material, err := parsePublicPEM([]byte(text))
		if err != nil {
			return nil, err
		}
		return newKey("", "", material)
	case strings.HasPrefix(text, "{"):
		jwk, err := decodeObject([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("the key is not a JWK: %w", err)
		}
		return parseJWK(jwk)
	case strings.HasPrefix(text, "base64:"):
		secret, err := decodeAnyBase64(strings.TrimPrefix(text, "base64:"))
		if err != nil {
			return nil, errors.New("the key is not base64")
		}
		return newKey("", "", secret)
	default:
		return newKey("", "", []byte(text))
	}
}

// decodeAnyBase64 reads what people paste: either alphabet, with or without
// padding.
func decodeAnyBase64(s string) ([]byte, error) {
	s = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(s), "=")
	return base64.RawURLEncoding.DecodeString(s)
}

// parsePublicPEM reads one public key or certificate.
func parsePublicPEM(b []byte) (any, error) {
	block, rest := pem.Decode(b)
	if block == nil {
		return nil, errors.New("the key is not PEM")
	}
	if len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errors.New("the PEM has more than one key")
	}
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	default:
		return nil, fmt.Errorf("the PEM holds a %q; a public key or certificate is needed", block.Type)
	}
}

// readRoots reads the authorities of the tls_ca option.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nil: those of the system
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tls_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("tls_ca: %q holds no certificate", path)
	}
	return pool, nil
}

package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The issuer and audience of all tokens.
const (
	issuer   = "https://bench.example"
	audience = "bench"
)

// forged names a token of good form with a wrong RS256 signature.
const forged = "forged"

// usersFile holds a line for each of many users: their RS256 token.
const usersFile = "users.tokens"

// credentials are the tokens of a run.
type credentials struct {
	tokens map[string]string // by algorithm
	rsaKey *rsa.PrivateKey
}

// writeUsers writes the tokens of n users to usersFile, for scenarios in which
// no two requests in a row come from the same one.
func (c *credentials) writeUsers(dir string, n int) error {
	var b bytes.Buffer
	for i := range n {
		claims := claims()
		claims["sub"], claims["jti"] = fmt.Sprint(i), fmt.Sprintf("bench-%d", i)
		token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(c.rsaKey)
		if err != nil {
			return fmt.Errorf("signing the token of user %d: %w", i, err)
		}
		b.WriteString(token + "\n")
	}
	return os.WriteFile(filepath.Join(dir, usersFile), b.Bytes(), 0o600)
}

// makeTokens returns one token per algorithm, and a forged one, good for all of
// a run. What verifies them is written to dir as ALG.key: the shared secret or
// a public key, as jwt_auth's `key` takes it.
func makeTokens(dir string) (*credentials, error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tokens := make(map[string]string)
	for _, k := range []struct {
		method   jwt.SigningMethod
		key      any
		verifier any
	}{
		{jwt.SigningMethodHS256, secret, secret},
		{jwt.SigningMethodRS256, rsaKey, rsaKey.Public()},
		{jwt.SigningMethodES256, ecKey, ecKey.Public()},
	} {
		alg := k.method.Alg()
		token, err := jwt.NewWithClaims(k.method, claims()).SignedString(k.key)
		if err != nil {
			return nil, fmt.Errorf("signing a token with %s: %w", alg, err)
		}
		tokens[alg] = token
		if err := writeVerifier(filepath.Join(dir, alg+".key"), k.verifier); err != nil {
			return nil, err
		}
	}
	good := tokens[jwt.SigningMethodRS256.Alg()]
	tokens[forged] = good[:len(good)-8] + "AAAAAAAA"
	return &credentials{tokens, rsaKey}, nil
}

func claims() jwt.MapClaims {
	now := time.Now()
	return jwt.MapClaims{
		"iss": issuer, "aud": audience, "sub": "42", "jti": "bench",
		"iat": now.Unix(), "exp": now.Add(12 * time.Hour).Unix(),
		"scope": "users:read users:write", "role": "user", "plan": "free",
	}
}

func writeVerifier(path string, key crypto.PublicKey) error {
	if secret, ok := key.([]byte); ok {
		text := "base64:" + base64.StdEncoding.EncodeToString(secret)
		return os.WriteFile(path, []byte(text), 0o600)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return os.WriteFile(path, text, 0o600)
}

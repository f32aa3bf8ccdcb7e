package jwtauth

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"
)

func signCommand() *cobra.Command {
	var s signing
	cmd := &cobra.Command{
		Use:   "sign --key <file> --alg <name> [--kid <id>] [--claims <json>] [--claim <name>=<value>]… [--expires <duration>]",
		Short: "Signs a token for development",
		Long: `Signs a token with a private key in PEM or, for HS algorithms, with the bytes of a
file, and prints it. iat, exp and jti are added if the claims do not have them.

A --claim value that is valid JSON is taken as such (true, 5, ["a"]), else, and
for iss, sub, aud and jti, as text.`,
		Args: cobra.NoArgs,
		RunE: run(func(cmd *cobra.Command, _ []string) error {
			token, err := s.token(time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		}),
	}
	f := cmd.Flags()
	f.StringVar(&s.keyFile, "key", "", "File with the private key (PEM) or the secret")
	f.StringVar(&s.alg, "alg", "", "Algorithm, such as ES256")
	f.StringVar(&s.kid, "kid", "", "Key id for the header")
	f.StringVar(&s.typ, "typ", "JWT", "Type for the header")
	f.StringVar(&s.claims, "claims", "", "Claims as a JSON object")
	f.StringArrayVar(&s.claim, "claim", nil, "One claim as name=value; may be repeated")
	f.DurationVar(&s.expires, "expires", 15*time.Minute, "Life of the token")
	return cmd
}

// signing is what `fairway token sign` was told.
type signing struct {
	keyFile, alg, kid, typ string
	claims                 string
	claim                  []string
	expires                time.Duration
}

func (s *signing) token(now time.Time) (string, error) {
	alg := algorithms[s.alg]
	if alg == nil {
		return "", fmt.Errorf("--alg %q is not one of %s", s.alg, algorithmNames())
	}
	key, err := s.key(alg)
	if err != nil {
		return "", err
	}
	claims, err := s.allClaims(now)
	if err != nil {
		return "", err
	}
	t := jwt.NewWithClaims(alg.method, jwt.MapClaims(claims))
	t.Header["typ"] = s.typ
	if s.kid != "" {
		t.Header["kid"] = s.kid
	}
	token, err := t.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return token, nil
}

// key reads the private key and checks it as its public half would be.
func (s *signing) key(alg *algorithm) (any, error) {
	if s.keyFile == "" {
		return nil, errors.New("--key is missing")
	}
	b, err := readLimited(s.keyFile)
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	var private, public any
	if alg.kty == "oct" {
		secret := []byte(strings.TrimRight(string(b), "\r\n"))
		private, public = secret, secret
	} else if private, public, err = parsePrivatePEM(b); err != nil {
		return nil, fmt.Errorf("--key %q: %w", s.keyFile, err)
	}
	k, err := newKey("", "", public)
	if err != nil {
		return nil, fmt.Errorf("--key %q: %w", s.keyFile, err)
	}
	if !k.fits(alg) {
		return nil, fmt.Errorf("--key %q (%s) does not go with --alg %s", s.keyFile, k.describe(), alg.name)
	}
	return private, nil
}

func parsePrivatePEM(b []byte) (private, public any, err error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil, nil, errors.New("no private key in PEM")
		}
		switch block.Type {
		case "PRIVATE KEY":
			private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			private, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default: // such as EC PARAMETERS, which openssl writes in front
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return nil, nil, fmt.Errorf("a %T cannot sign", private)
		}
		return private, signer.Public(), nil
	}
}

func (s *signing) allClaims(now time.Time) (map[string]any, error) {
	claims := map[string]any{
		"iat": now.Unix(), "exp": now.Add(s.expires).Unix(), "jti": rand.Text(),
	}
	if s.claims != "" {
		given, err := decodeObject([]byte(s.claims))
		if err != nil {
			return nil, fmt.Errorf("--claims: %w", err)
		}
		maps.Copy(claims, given)
	}
	for _, c := range s.claim {
		name, value, ok := strings.Cut(c, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--claim %q is not name=value", c)
		}
		claims[name] = claimValue(name, value)
	}
	return claims, nil
}

// claimValue takes valid JSON as such, but leaves numbers text where a claim is
// always text: a subject may be called 42.
func claimValue(name, value string) any {
	if !json.Valid([]byte(value)) {
		return value
	}
	text := slices.Contains([]string{"iss", "sub", "aud", "jti"}, name)
	if text && !strings.HasPrefix(value, "[") {
		return value
	}
	return json.RawMessage(value)
}

//go:build wycheproof

package jwtauth

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWycheproof runs the JSON Web Signature and JSON Web Key vectors of Project
// Wycheproof (https://github.com/C2SP/wycheproof), of which WYCHEPROOF names a
// checkout:
//
//	go test -tags wycheproof -run Wycheproof ./modules/jwtauth
//
// Its payloads are no claims, so this tests what precedes claims: shape, key and
// signature.
func TestWycheproof(t *testing.T) {
	root := os.Getenv("WYCHEPROOF")
	if root == "" {
		t.Fatal("WYCHEPROOF must name a checkout of github.com/C2SP/wycheproof")
	}
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		t.Run(name, func(t *testing.T) { runVectors(t, filepath.Join(root, "testvectors_v1", name)) })
	}
}

type vectorGroup struct {
	Comment string          `json:"comment"`
	Public  json.RawMessage `json:"public"`
	Private json.RawMessage `json:"private"`
	Tests   []struct {
		ID      int    `json:"tcId"`
		Comment string `json:"comment"`
		JWS     any    `json:"jws"`
		Result  string `json:"result"`
		Flags   []string
	} `json:"tests"`
}

func runVectors(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []vectorGroup `json:"testGroups"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	var run, refusedValid int
	for _, g := range file.Groups {
		if strings.HasPrefix(g.Comment, "jwe") {
			continue
		}
		for _, test := range g.Tests {
			token, ok := test.JWS.(string)
			if !ok { // JSON serialization
				continue
			}
			run++
			accepted := acceptsVector(g, token)
			if accepted && test.Result == "invalid" {
				t.Errorf("%s, vector %d (%s): accepted", g.Comment, test.ID, test.Comment)
			}
			if !accepted && test.Result == "valid" {
				refusedValid++
				t.Logf("%s, vector %d (%s): valid, and refused", g.Comment, test.ID, test.Comment)
			}
		}
	}
	t.Logf("%d vectors run, %d valid ones refused", run, refusedValid)
}

// acceptsVector verifies with the algorithm that the key or the token names: an
// operator could have allowed it.
func acceptsVector(g vectorGroup, token string) bool {
	raw := g.Public
	if len(raw) == 0 {
		raw = g.Private
	}
	document, err := publicSet(raw)
	if err != nil {
		return false
	}
	for name := range algorithms {
		allowed, err := newAllowlist([]string{name})
		if err != nil {
			return false
		}
		keys, _, err := parseJWKS(document, allowed)
		if err != nil {
			continue
		}
		parsed := parseVector(token)
		if parsed == nil || parsed.header.alg != name {
			continue
		}
		if verifiesVector(parsed, algorithms[name], keys) {
			return true
		}
	}
	return false
}

// verifiesVector checks the signature with the methods that issuer.findSigner
// gives to golang-jwt, whose parser would stumble over the payload.
func verifiesVector(raw *rawToken, alg *algorithm, keys []*key) bool {
	dot := strings.LastIndexByte(raw.text, '.')
	signature, err := strictBase64(raw.text[dot+1:])
	if err != nil {
		return false
	}
	candidates := (&snapshot{keys: keys}).candidates(&raw.header, alg)
	return slices.ContainsFunc(candidates, func(k *key) bool {
		return alg.method.Verify(raw.text[:dot], signature, k.material) == nil
	})
}

// parseVector is parseToken for a payload that is no JSON.
func parseVector(token string) *rawToken {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[0] == "" || parts[2] == "" {
		return nil
	}
	header, ok := decodePart(parts[0])
	if !ok {
		return nil
	}
	for _, part := range parts[1:] {
		if _, err := strictBase64(part); err != nil {
			return nil
		}
	}
	raw := &rawToken{text: token}
	if raw.header.read(header) != ReasonOK {
		return nil
	}
	return raw
}

// publicSet makes a key set of a JWK or a set, without the private members of
// asymmetric keys.
func publicSet(raw json.RawMessage) ([]byte, error) {
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	list, isSet := object["keys"].([]any)
	if !isSet {
		list = []any{object}
	}
	for _, item := range list {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi"} {
			delete(item.(map[string]any), private)
		}
	}
	return json.Marshal(map[string]any{"keys": list})
}

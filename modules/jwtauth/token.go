package jwtauth

import (
	"strings"
)

// maxTokenSize bounds a token in bytes. Identity providers stay below 4 KiB;
// header size limits of common servers are 8 KiB.
const maxTokenSize = 8 << 10

// maxKID bounds the key id, which is the only free text that is compared with
// every key.
const maxKID = 512

// rawToken is a token of the right shape whose signature nobody has checked.
type rawToken struct {
	text   string
	header tokenHeader
	claims map[string]any
}

// tokenHeader holds the members of a JOSE header that Fairway uses. jku, jwk,
// x5u and x5c are never looked at: keys come from the configuration alone
// (RFC 8725, 2.9 and 3.10).
type tokenHeader struct {
	alg, typ string
	kid      string
	hasKID   bool
}

// parseToken checks shape and size and decodes header and claims. It verifies
// nothing.
func parseToken(text string) (*rawToken, Reason) {
	if len(text) > maxTokenSize {
		return nil, ReasonMalformed
	}
	header, rest, _ := strings.Cut(text, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	// A JWE has five parts; a fourth dot is no base64url.
	if header == "" || payload == "" || signature == "" || !isBase64URL(signature) {
		return nil, ReasonMalformed
	}
	headerMembers, ok := decodePart(header)
	if !ok {
		return nil, ReasonMalformed
	}
	claims, ok := decodePart(payload)
	if !ok {
		return nil, ReasonMalformed
	}
	if _, err := strictBase64(signature); err != nil {
		return nil, ReasonMalformed
	}
	t := &rawToken{text: text, claims: claims}
	if reason := t.header.read(headerMembers); reason != ReasonOK {
		return nil, reason
	}
	return t, ReasonOK
}

func decodePart(part string) (map[string]any, bool) {
	b, err := strictBase64(part)
	if err != nil {
		return nil, false
	}
	object, err := decodeObject(b)
	return object, err == nil
}

// read takes what it needs out of the header and refuses what would change the
// meaning of the token in a way that is not implemented.
func (h *tokenHeader) read(members map[string]any) Reason {
	// RFC 7515, 4.1.11 and RFC 7797: an extension that must be understood, and
	// is not. RFC 7516: zip and enc belong to encrypted tokens. RFC 7519, 5.2:
	// cty announces a nested token.
	for _, name := range []string{"crit", "b64", "zip", "enc", "cty"} {
		if _, present := members[name]; present {
			return ReasonMalformed
		}
	}
	var err error
	if h.alg, err = optionalString(members, "alg"); err != nil || h.alg == "" {
		return ReasonMalformed
	}
	if h.typ, err = optionalString(members, "typ"); err != nil {
		return ReasonMalformed
	}
	if h.kid, err = optionalString(members, "kid"); err != nil || len(h.kid) > maxKID {
		return ReasonMalformed
	}
	_, h.hasKID = members["kid"]
	return ReasonOK
}

// accepts compares the type of the token with the one that is demanded
// (RFC 8725, 3.11). Without a demand, plain tokens and access tokens pass, and
// all that are made for something else do not: logout tokens, security events,
// DPoP proofs and so on.
func (h *tokenHeader) accepts(demanded string) bool {
	typ := normalType(h.typ)
	if demanded != "" {
		return typ == demanded
	}
	return typ == "" || typ == "jwt" || typ == "at+jwt"
}

// normalType is a media type in lower case without the "application/" that may
// be left out (RFC 7515, 4.1.9).
func normalType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

package http

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/auth"
)

// metadata is what others need to know to check our tokens, in the words of OpenID
// Connect Discovery 1.0 and of RFC 8414. Logins here are no OAuth flow: members
// that would say where one begins are absent.
type metadata struct {
	Issuer        string   `json:"issuer" doc:"The iss claim of tokens"`
	JWKSURI       string   `json:"jwks_uri" doc:"Where their keys are"`
	ResponseTypes []string `json:"response_types_supported" nullable:"false"`
	GrantTypes    []string `json:"grant_types_supported" nullable:"false"`
	SubjectTypes  []string `json:"subject_types_supported" nullable:"false"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported" nullable:"false"`
	Scopes        []string `json:"scopes_supported" nullable:"false"`
	Claims        []string `json:"claims_supported" nullable:"false"`
}

type metadataOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         metadata
}

// discoveryRoutes registers the metadata under both its names.
func (s *server) discoveryRoutes() {
	for id, path := range map[string]string{
		"openid-configuration": "/.well-known/openid-configuration",
		"oauth-metadata":       "/.well-known/oauth-authorization-server",
	} {
		handle(s, huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"auth"},
			Summary: "How to check access tokens",
		}, s.discovery)
	}
}

// discovery answers with an issuer's metadata. Its keys are below the issuer, as
// the metadata itself is (OpenID Connect Discovery 1.0, 4).
func (s *server) discovery(context.Context, *struct{}) (*metadataOutput, error) {
	issuer := s.auth.Issuer.Name
	return &metadataOutput{CacheControl: "public, max-age=300", Body: metadata{
		Issuer: issuer, JWKSURI: strings.TrimSuffix(issuer, "/") + "/.well-known/jwks.json",
		ResponseTypes: []string{}, GrantTypes: []string{}, SubjectTypes: []string{"public"}, Algorithms: []string{"ES256"},
		Scopes: strings.Fields(auth.Scope(backend.RoleAdmin)),
		Claims: []string{"iss", "aud", "sub", "jti", "iat", "exp", "scope", "role", "plan"},
	}}, nil
}

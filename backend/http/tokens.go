package http

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/auth"
)

// authRoutes registers everything under /api/auth, and the public keys.
func (s *server) authRoutes() {
	op := func(id, path, summary string, status int, errors ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: "/api/auth/" + path, Summary: summary,
			Tags: []string{"auth"}, DefaultStatus: status, Errors: append(errors, 400, 413, 415, 503),
		}
	}
	handle(s, op("register", "register", "Create an account", http.StatusCreated, 403, 409, 422), s.register)
	handle(s, op("login", "login", "Exchange email and password for tokens", http.StatusOK, 401, 429), s.login)
	handle(s, op("refresh", "refresh", "Exchange a refresh token for new tokens", http.StatusOK, 401), s.refresh)
	handle(s, op("logout", "logout", "End the session of a refresh token", http.StatusNoContent), s.logout)
	handle(s, huma.Operation{
		OperationID: "jwks", Method: http.MethodGet, Path: "/.well-known/jwks.json", Tags: []string{"auth"},
		Summary: "The keys that access tokens are signed with (RFC 7517)",
	}, s.jwks)
}

type registerInput struct {
	Once
	Body NewUserBody
}

func (s *server) register(ctx context.Context, in *registerInput) (*created, error) {
	if !s.cfg.OpenRegistration {
		return nil, backend.Fail(backend.Forbidden, "only an admin may create users")
	}
	return s.create(ctx, in.Once, in.Body.newUser())
}

type loginInput struct {
	Body struct {
		Email    string `json:"email" minLength:"1" maxLength:"254" example:"ada@example.com"`
		Password string `json:"password" minLength:"1" maxLength:"256" writeOnly:"true" example:"correct horse battery"`
	}
}

// tokensOutput is RFC 6749's answer (5.1).
type tokensOutput struct {
	Body struct {
		AccessToken      string `json:"access_token" doc:"A JWT for the Authorization header"`
		TokenType        string `json:"token_type" example:"Bearer"`
		ExpiresIn        int    `json:"expires_in" doc:"Seconds until the access token expires" example:"900"`
		RefreshToken     string `json:"refresh_token" doc:"Good for one refresh"`
		RefreshExpiresIn int    `json:"refresh_expires_in" doc:"Seconds until the refresh token expires" example:"2592000"`
		Scope            string `json:"scope" example:"users:read users:write"`
	}
}

func showTokens(t *auth.Tokens) *tokensOutput {
	out := &tokensOutput{}
	out.Body.AccessToken, out.Body.TokenType = t.Access, "Bearer"
	out.Body.ExpiresIn = int(t.AccessLife.Seconds())
	out.Body.RefreshToken, out.Body.RefreshExpiresIn = t.Refresh, int(t.RefreshLife.Seconds())
	out.Body.Scope = t.Scope
	return out
}

func (s *server) login(ctx context.Context, in *loginInput) (*tokensOutput, error) {
	c := callOf(ctx)
	t, err := s.auth.Login(ctx, in.Body.Email, in.Body.Password, auth.Client{UserAgent: c.userAgent, IP: c.clientIP})
	if err != nil {
		return nil, err
	}
	return showTokens(t), nil
}

type refreshInput struct {
	Body struct {
		RefreshToken string `json:"refresh_token" minLength:"1" maxLength:"200" writeOnly:"true"`
	}
}

func (s *server) refresh(ctx context.Context, in *refreshInput) (*tokensOutput, error) {
	t, err := s.auth.Refresh(ctx, in.Body.RefreshToken)
	if err != nil {
		return nil, err
	}
	return showTokens(t), nil
}

// nothing is an answer without a body.
type nothing struct{}

func (s *server) logout(ctx context.Context, in *refreshInput) (*nothing, error) {
	if err := s.auth.Logout(ctx, in.Body.RefreshToken); err != nil {
		return nil, err
	}
	return &nothing{}, nil
}

type jwksOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Keys []auth.JWK `json:"keys" nullable:"false"`
	}
}

func (s *server) jwks(context.Context, *struct{}) (*jwksOutput, error) {
	out := &jwksOutput{CacheControl: "public, max-age=300"}
	out.Body.Keys = s.auth.Issuer.Keys.JWKS()
	return out, nil
}

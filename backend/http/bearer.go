package http

import (
	"context"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fairway-gateway/fairway/backend"
)

// authenticate finds out who calls an operation that wants to know. A missing
// token passes only where the operation can do without; a bad one never.
func (s *server) authenticate(ctx huma.Context, next func(huma.Context)) {
	security := ctx.Operation().Security
	if len(security) == 0 {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	c := callOf(r.Context())
	user, err := s.principal(r.Context(), c, r.Header.Values("Authorization"))
	if err != nil || user == nil && !optionalBearer(security) {
		if err == nil {
			err = backend.Fail(backend.Unauthenticated, "no token")
		}
		s.refuse(w, s.fail(r.Context(), err))
		return
	}
	c.user = user
	next(ctx)
}

func optionalBearer(security []map[string][]string) bool {
	for _, alternative := range security {
		if len(alternative) == 0 {
			return true
		}
	}
	return false
}

// principal returns who sent the token, or nil without one.
func (s *server) principal(ctx context.Context, c *call, headers []string) (*backend.Principal, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	c.bearer = true
	scheme, token, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return nil, backend.Fail(backend.Unauthenticated, "not one bearer token")
	}
	return s.auth.Authenticate(ctx, strings.TrimSpace(token))
}

// me returns who calls. Operations with needsBearer may rely on it.
func me(ctx context.Context) *backend.Principal { return callOf(ctx).user }

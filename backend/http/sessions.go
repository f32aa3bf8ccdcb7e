package http

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// sessionRoutes registers what a user can do about where they are logged in.
func (s *server) sessionRoutes() {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: "/api/users/{id}/sessions" + path, Summary: summary,
			Tags: []string{"sessions"}, Security: needsBearer, Errors: []int{400, 401, 403, 404, 503},
		}
	}
	handle(s, op("list-sessions", http.MethodGet, "", "List where a user is logged in, the last used first"), s.listSessions)
	handle(s, op("revoke-session", http.MethodDelete, "/{session}", "End one session; its access token ends by itself"), s.revokeSession)
	handle(s, op("revoke-sessions", http.MethodDelete, "", "End every session and every access token of a user"), s.revokeSessions)
}

type sessionBody struct {
	ID         string    `json:"id"`
	UserAgent  string    `json:"user_agent"`
	IP         string    `json:"ip"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	ExpiresAt  time.Time `json:"expires_at" doc:"When it ends however often it is refreshed"`
}

type sessionsInput struct{ OnUser }

type sessionsOutput struct {
	Body struct {
		Sessions []sessionBody `json:"sessions" nullable:"false"`
	}
}

func (s *server) listSessions(ctx context.Context, in *sessionsInput) (*sessionsOutput, error) {
	id, err := in.user(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.db.Sessions(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &sessionsOutput{}
	out.Body.Sessions = make([]sessionBody, len(list))
	for i, l := range list {
		out.Body.Sessions[i] = sessionBody{
			ID: l.ID, UserAgent: l.UserAgent, IP: l.IP,
			CreatedAt: l.CreatedAt, LastUsedAt: l.LastUsedAt, ExpiresAt: l.ExpiresAt,
		}
	}
	return out, nil
}

type sessionInput struct {
	OnUser
	Session string `path:"session" pattern:"^[A-Z2-7]{26}$" patternDescription:"a session's id"`
}

func (s *server) revokeSession(ctx context.Context, in *sessionInput) (*nothing, error) {
	id, err := in.user(ctx)
	if err != nil {
		return nil, err
	}
	return &nothing{}, s.db.RevokeSession(ctx, id, in.Session)
}

// revokeSessions has the gateway drop the user's pages as well: a cached answer
// must not outlive the right to see it.
func (s *server) revokeSessions(ctx context.Context, in *sessionsInput) (*deleted, error) {
	id, err := in.user(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.db.RevokeEverything(ctx, id); err != nil {
		return nil, err
	}
	return &deleted{changedUser(id)}, nil
}

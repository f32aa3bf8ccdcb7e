package http

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fairway-gateway/fairway/backend"
)

// letterRoutes registers what works by a token that came by mail. The pages that
// a mail links to are the front end's; they post the token here.
func (s *server) letterRoutes() {
	op := func(id, path, summary string, status int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: path, Summary: summary,
			Tags: []string{"auth"}, DefaultStatus: status, Errors: []int{400, 413, 415, 503},
		}
	}
	handle(s, op("verify-email", "/api/auth/verify-email", "Prove to own an address by the token that was mailed to it", http.StatusNoContent), s.verifyEmail)
	forgot := op("forgot-password", "/api/auth/password/forgot", "Have a token mailed that lets one choose a new password", http.StatusAccepted)
	forgot.Errors = append(forgot.Errors, http.StatusTooManyRequests)
	handle(s, forgot, s.forgotPassword)
	handle(s, op("reset-password", "/api/auth/password/reset", "Choose a new password; ends every session", http.StatusNoContent), s.resetPassword)
	send := op("send-verification", "/api/users/{id}/verify-email", "Have the token that proves an address mailed again", http.StatusAccepted)
	send.Security, send.Tags, send.Errors = needsBearer, []string{"users"}, []int{401, 403, 404, 503}
	handle(s, send, s.sendVerification)
}

type verifyEmailInput struct {
	Body struct {
		Token string `json:"token" minLength:"1" maxLength:"4096"`
	}
}

func (s *server) verifyEmail(ctx context.Context, in *verifyEmailInput) (*deleted, error) {
	id, err := s.auth.VerifyEmail(ctx, in.Body.Token)
	if err != nil {
		return nil, err
	}
	return &deleted{changedUser(id)}, nil
}

type forgotPasswordInput struct {
	Body struct {
		Email string `json:"email" format:"email" maxLength:"254"`
	}
}

// forgotPassword does the same whether or not somebody has the address: who does
// is found out when the mail is written.
func (s *server) forgotPassword(ctx context.Context, in *forgotPasswordInput) (*nothing, error) {
	email, ok := backend.NormalizeEmail(in.Body.Email)
	if !ok {
		return nil, backend.InvalidFields([]backend.FieldError{{Field: "email", Message: "must be an email address"}})
	}
	if err := s.auth.BeginReset(ctx, email, callOf(ctx).clientIP); err != nil {
		return nil, err
	}
	return &nothing{}, s.cfg.Letters.SendReset(ctx, email)
}

type resetPasswordInput struct {
	Body struct {
		Token    string `json:"token" minLength:"1" maxLength:"4096" writeOnly:"true"`
		Password string `json:"password" minLength:"8" maxLength:"256" writeOnly:"true"`
	}
}

func (s *server) resetPassword(ctx context.Context, in *resetPasswordInput) (*deleted, error) {
	id, err := s.auth.ResetPassword(ctx, in.Body.Token, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return &deleted{changedUser(id)}, nil
}

func (s *server) sendVerification(ctx context.Context, in *sessionsInput) (*nothing, error) {
	id, err := in.user(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.db.User(ctx, id); err != nil {
		return nil, err
	}
	return &nothing{}, s.cfg.Letters.SendVerification(ctx, id)
}

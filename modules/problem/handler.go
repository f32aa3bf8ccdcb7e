// Package problem writes the one body that every error of the gateway has,
// Caddy's own errors included: problem details as RFC 9457 defines them, with
// the members `error`, `code`, `details` and `request_id` besides.
//
//	handle_errors {
//		problem
//	}
//
//	HTTP/1.1 400 Bad Request
//	Content-Type: application/problem+json
//
//	{"type":"about:blank","title":"Bad Request","status":400,
//	 "error":"Validation failed","code":"validation_failed",
//	 "details":[{"field":"email","message":"must be an email address"}],
//	 "request_id":"0199f3c2-…"}
//
// A client that prefers plain JSON, plain text or HTML gets that. The text of
// an error never leaves the gateway: it is in the log, under the request id.
//
// Responses of an upstream pass unaltered, errors too: they are answers.
package problem

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// varRequestID is where the request_id directive leaves the id.
const varRequestID = "request_id"

// Handler answers with the error of the request it handles. It belongs into
// handle_errors; elsewhere, without an error, it passes the request on.
type Handler struct {
	// What to say instead for a status, by status: "404", or "5xx" for all of a
	// class. The exact status wins.
	Status map[string]*Override `json:"status,omitempty"`

	// A file with a Go html/template for the page that browsers get. It sees
	// the fields of Problem. Default: a small built-in page.
	HTML string `json:"html,omitempty"`

	pages  pages
	logger *zap.Logger
}

// Override replaces the fixed texts of a problem. Empty fields leave what would
// be said without it. The code stays: clients rely on it.
type Override struct {
	// A URI reference that names the kind of problem. Default: about:blank.
	Type string `json:"type,omitempty"`

	// A short summary. Default: the phrase of the status.
	Title string `json:"title,omitempty"`

	// An explanation for people. Default: none.
	Detail string `json:"detail,omitempty"`

	// A file with a Go html/template for this status. Default: the handler's.
	HTML string `json:"html,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.problem", New: func() caddy.Module { return new(Handler) }}
}

// Provision reads the templates.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := gateway.RegisterMetrics(ctx, responses); err != nil {
		return err
	}
	h.logger = ctx.Logger()
	for status := range h.Status {
		if !validStatusKey(status) {
			return fmt.Errorf("problem: status %q: want a status from 400 to 599, 4xx or 5xx", status)
		}
	}
	var err error
	if h.pages, err = loadPages(h.HTML, h.Status); err != nil {
		return fmt.Errorf("problem: %w", err)
	}
	return nil
}

// ServeHTTP answers with the request's error.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	err, failed := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	if !failed {
		return next.ServeHTTP(w, r)
	}
	status := statusOf(err)
	p := newProblem(status, stringVar(r, gateway.VarError))
	p.Details, _ = caddyhttp.GetVar(r.Context(), gateway.VarDetails).([]gateway.Detail)
	p.RequestID = stringVar(r, varRequestID)
	h.override(status).apply(p)

	responses.WithLabelValues(statusClass(status), p.Code).Inc()
	gateway.LogField(r, zap.String("error_code", p.Code))
	h.log(r, p, err)
	return h.write(w, r, p)
}

// log writes down what the client is not told. Caddy logs an error that a
// route has handled for debugging only, so a fault of ours or of an upstream
// would leave no trace; a refusal is in the access log already.
func (h *Handler) log(r *http.Request, p *Problem, err error) {
	level := zapcore.DebugLevel
	if p.Status >= http.StatusInternalServerError {
		level = zapcore.ErrorLevel
	}
	entry := h.logger.Check(level, "request failed")
	if entry == nil {
		return
	}
	fields := []zap.Field{
		zap.Int("status", p.Status), zap.String("code", p.Code), zap.String("request_id", p.RequestID),
		zap.String("method", r.Method), zap.String("path", r.URL.Path),
	}
	var he caddyhttp.HandlerError
	if errors.As(err, &he) {
		fields = append(fields, zap.String("err_id", he.ID), zap.String("err_trace", he.Trace))
		err = he.Err
	}
	entry.Write(append(fields, zap.Error(err))...)
}

// statusOf returns the status an error asks for; without one it is a fault of
// the gateway.
func statusOf(err error) int {
	if status := gateway.StatusOf(err); status >= 200 && status <= 599 {
		return status
	}
	return http.StatusInternalServerError
}

func stringVar(r *http.Request, name string) string {
	s, _ := caddyhttp.GetVar(r.Context(), name).(string)
	return s
}

// override returns what the config says about a status, nil if nothing.
func (h *Handler) override(status int) *Override {
	if len(h.Status) == 0 {
		return nil
	}
	if o := h.Status[strconv.Itoa(status)]; o != nil {
		return o
	}
	return h.Status[statusClass(status)]
}

func statusClass(status int) string { return strconv.Itoa(status/100) + "xx" }

func validStatusKey(s string) bool {
	if s == "4xx" || s == "5xx" {
		return true
	}
	n, err := strconv.Atoi(s)
	return err == nil && n >= 400 && n <= 599
}

func (o *Override) apply(p *Problem) {
	if o == nil {
		return
	}
	if o.Type != "" {
		p.Type = o.Type
	}
	if o.Title != "" {
		p.Title = o.Title
	}
	p.Detail = o.Detail
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

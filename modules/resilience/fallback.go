package resilience

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// headerFallback marks a response that a fallback gave, with its kind.
const headerFallback = "Fairway-Fallback"

// Stable codes of this module's refusals.
const (
	codeUnavailable = "Service unavailable"
	codeTimeout     = "Gateway timeout"
)

// Kinds of fallbacks.
const (
	fallbackStale   = "stale"
	fallbackRespond = "respond"
)

// Fallback is another answer for a request that the upstreams gave none to.
type Fallback struct {
	// What to do: "stale" answers with an expired response from the cache, if
	// there is one that may still be used; "respond" with a fixed response.
	Kind string `json:"kind"`

	// The status of respond. Default: 503.
	Status int `json:"status,omitempty"`

	// The body of respond. Default: none; the response is then made by the
	// error routes, like that of any other error.
	Body string `json:"body,omitempty"`

	// The media type of the body. Default: text/plain; charset=utf-8.
	ContentType string `json:"content_type,omitempty"`
}

func (f Fallback) validate() error {
	switch f.Kind {
	case fallbackStale:
		if f != (Fallback{Kind: fallbackStale}) {
			return errors.New("fallback: stale goes with nothing else")
		}
	case fallbackRespond:
		if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
			return fmt.Errorf("fallback: respond: status must be from 200 to 599, got %d", f.Status)
		}
		if f.Body == "" && f.ContentType != "" {
			return fmt.Errorf("fallback: respond: a content type (%q) goes with a body", f.ContentType)
		}
		if f.Body == "" && f.Status != 0 && f.Status < 400 {
			return fmt.Errorf("fallback: respond: status %d needs a body; without one it must be an error", f.Status)
		}
	default:
		return fmt.Errorf("fallback: must be %q or %q, got %q", fallbackStale, fallbackRespond, f.Kind)
	}
	return nil
}

// fallBack answers with the first fallback that can, or returns the error.
func (h *Handler) fallBack(w http.ResponseWriter, r *http.Request, err error) error {
	if statusOf(err) < http.StatusInternalServerError || r.Context().Err() != nil {
		return err
	}
	for _, f := range h.Fallbacks {
		answered, result := f.answer(w, r, err)
		if !answered {
			continue
		}
		fallbacksTotal.WithLabelValues(f.Kind).Inc()
		gateway.LogField(r, zap.String("fallback", f.Kind))
		gateway.LogField(r, zap.String("fallback_cause", err.Error()))
		return result
	}
	return err
}

// answer says whether the fallback could answer, and the error to return then.
func (f Fallback) answer(w http.ResponseWriter, r *http.Request, cause error) (bool, error) {
	w.Header().Set(headerFallback, f.Kind)
	if f.Kind == fallbackStale {
		return answerStale(w, r), nil
	}
	status := or(f.Status, http.StatusServiceUnavailable)
	if f.Body == "" {
		code := codeUnavailable
		if status != http.StatusServiceUnavailable {
			code = http.StatusText(status)
		}
		return true, gateway.Fail(r, status, code, nil, opaque(errors.New("falling back"), cause))
	}
	w.Header().Set("Content-Type", or(f.ContentType, "text/plain; charset=utf-8"))
	w.WriteHeader(status)
	_, err := w.Write([]byte(f.Body))
	return true, err
}

func answerStale(w http.ResponseWriter, r *http.Request) bool {
	stale, ok := caddyhttp.GetVar(r.Context(), gateway.VarStale).(gateway.StaleFunc)
	advice := w.Header()["Retry-After"]
	w.Header().Del("Retry-After") // it would tell the client not to come back
	if ok && stale(w, r) {
		return true
	}
	w.Header().Del(headerFallback)
	if advice != nil {
		w.Header()["Retry-After"] = advice
	}
	return false
}

// statusOf returns the status that an error stands for.
func statusOf(err error) int {
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok && he.StatusCode != 0 {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

// opaque names a cause without wrapping it: caddyhttp.Error keeps the status of
// an error that it finds inside.
func opaque(err, cause error) error {
	if cause == nil {
		return err
	}
	return fmt.Errorf("%w: %s", err, cause.Error())
}

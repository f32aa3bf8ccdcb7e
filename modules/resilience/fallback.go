package resilience

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
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
	fallbackStale    = "stale"
	fallbackRespond  = "respond"
	fallbackUpstream = "upstream"
)

// Fallback is another answer for a request that the upstreams gave none to.
type Fallback struct {
	// What to do: "stale" answers with an expired response from the cache, if
	// there is one that may still be used; "respond" with a fixed response;
	// "upstream" with that of another upstream, for requests without a body.
	Kind string `json:"kind"`

	// The status of respond. Default: 503.
	Status int `json:"status,omitempty"`

	// The body of respond. Default: none; the response is then made by the
	// error routes, like that of any other error.
	Body string `json:"body,omitempty"`

	// The media type of the body. Default: text/plain; charset=utf-8.
	ContentType string `json:"content_type,omitempty"`

	// The address of upstream: host:port, or https://host[:port].
	Upstream string `json:"upstream,omitempty"`

	proxy caddyhttp.MiddlewareHandler
}

func (f Fallback) validate() error {
	switch f.Kind {
	case fallbackStale:
		if f.Status != 0 || f.Body != "" || f.ContentType != "" || f.Upstream != "" {
			return errors.New("fallback: stale goes with nothing else")
		}
	case fallbackUpstream:
		if f.Upstream == "" || f.Status != 0 || f.Body != "" || f.ContentType != "" {
			return fmt.Errorf("fallback: upstream goes with an address and nothing else, got %q", f.Upstream)
		}
		_, err := f.proxyConfig()
		return err
	case fallbackRespond:
		if f.Upstream != "" {
			return fmt.Errorf("fallback: respond does not go with an upstream (%q)", f.Upstream)
		}
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
		return fmt.Errorf("fallback: must be %q, %q or %q, got %q", fallbackStale, fallbackRespond, fallbackUpstream, f.Kind)
	}
	return nil
}

// provision sets up the proxy of an upstream. Caddy cleans it up with the
// config.
func (f *Fallback) provision(ctx caddy.Context) error {
	if f.Kind != fallbackUpstream {
		return nil
	}
	config, err := f.proxyConfig()
	if err != nil {
		return err
	}
	module, err := ctx.LoadModuleByID("http.handlers.reverse_proxy", config)
	if err != nil {
		return err
	}
	f.proxy = module.(caddyhttp.MiddlewareHandler)
	return nil
}

// proxyConfig returns the reverse_proxy that leads to the upstream.
func (f *Fallback) proxyConfig() (json.RawMessage, error) {
	dial, tls := strings.CutPrefix(f.Upstream, "https://")
	if _, _, err := net.SplitHostPort(dial); err != nil {
		if !tls {
			return nil, fmt.Errorf("fallback: upstream %q is neither host:port nor https://host[:port]", f.Upstream)
		}
		dial = net.JoinHostPort(dial, "443")
	}
	if strings.ContainsAny(dial, "/{} ") {
		return nil, fmt.Errorf("fallback: upstream %q is neither host:port nor https://host[:port]", f.Upstream)
	}
	config := map[string]any{"upstreams": []any{map[string]string{"dial": dial}}}
	if tls {
		config["transport"] = map[string]any{"protocol": "http", "tls": map[string]any{}}
	}
	return json.Marshal(config)
}

// fallBack answers with the first fallback that can, or returns the error.
func (h *Handler) fallBack(w http.ResponseWriter, r *http.Request, err error) error {
	if gateway.StatusOf(err) < http.StatusInternalServerError || r.Context().Err() != nil {
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
	switch f.Kind {
	case fallbackStale:
		return unadvised(w, func() (bool, error) { return answerStale(w, r), nil })
	case fallbackUpstream:
		return unadvised(w, func() (bool, error) { return f.ask(w, r) })
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

// unadvised lets a fallback answer without the Retry-After of the failure,
// which would tell the client not to come back.
func unadvised(w http.ResponseWriter, answer func() (bool, error)) (bool, error) {
	advice := w.Header()["Retry-After"]
	w.Header().Del("Retry-After")
	answered, err := answer()
	if !answered {
		w.Header().Del(headerFallback)
		if advice != nil {
			w.Header()["Retry-After"] = advice
		}
	}
	return answered, err
}

func answerStale(w http.ResponseWriter, r *http.Request) bool {
	stale, ok := caddyhttp.GetVar(r.Context(), gateway.VarStale).(gateway.StaleFunc)
	return ok && stale(w, r)
}

// ask passes the request to the other upstream. A body may have been read
// already, so only requests without one can be passed.
func (f Fallback) ask(w http.ResponseWriter, r *http.Request) (bool, error) {
	if r.ContentLength != 0 && hasBody(r) {
		return false, nil
	}
	sent := new(sentry)
	sent.ResponseWriter = w
	err := f.proxy.ServeHTTP(sent, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
	return sent.wrote, err
}

// opaque names a cause without wrapping it: caddyhttp.Error keeps the status of
// an error that it finds inside.
func opaque(err, cause error) error {
	if cause == nil {
		return err
	}
	return fmt.Errorf("%w: %s", err, cause.Error())
}

package resilience

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler bounds what a route may cost and gives another answer when the
// upstreams cannot. It stands just before reverse_proxy.
type Handler struct {
	// How long a request may take, tries, queues and all, until response
	// headers are written. Bodies may take longer. Default: no limit.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many requests of this route may be under way at once. Default: no
	// limit.
	Bulkhead *BulkheadConfig `json:"bulkhead,omitempty"`

	// Who goes first when a bulkhead is full, the route's or an upstream's.
	// Default: all are alike.
	Priority *PriorityConfig `json:"priority,omitempty"`

	// What to answer, first that can, if the upstreams give no response.
	// Default: the error itself.
	Fallbacks []Fallback `json:"fallback,omitempty"`

	bulkhead *Bulkhead
	logger   *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.resilience",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if err := h.validate(); err != nil {
		return fmt.Errorf("resilience: %w", err)
	}
	if b := h.Bulkhead; b != nil {
		h.bulkhead = NewBulkhead(b.Max, b.Queue, b.waits())
	}
	for i := range h.Fallbacks {
		if err := h.Fallbacks[i].provision(ctx); err != nil {
			return fmt.Errorf("resilience: fallback: %w", err)
		}
	}
	return gateway.RegisterMetrics(ctx, collectors()...)
}

func (h *Handler) validate() error {
	if h.Timeout < 0 {
		return fmt.Errorf("timeout must be positive, got %s", time.Duration(h.Timeout))
	}
	if err := h.Bulkhead.validate(); err != nil {
		return err
	}
	if err := h.Priority.validate(); err != nil {
		return err
	}
	for _, f := range h.Fallbacks {
		if err := f.validate(); err != nil {
			return err
		}
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if ex := exchangeOf(r.Context()); ex != nil {
		ex.writer, ex.header, ex.priority = w, w.Header(), h.Priority.class(r)
	}
	sent := &sentry{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	err := h.guarded(sent, r, next)
	if err == nil || sent.wrote {
		return err
	}
	return h.fallBack(w, r, err)
}

// guarded passes the request on within the bulkhead and the timeout.
func (h *Handler) guarded(w *sentry, r *http.Request, next caddyhttp.Handler) error {
	ctx := r.Context()
	if h.Timeout > 0 {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(context.Canceled)
		w.timer = time.AfterFunc(time.Duration(h.Timeout), func() { cancel(errTotalTimeout) })
		defer w.timer.Stop()
		w.ctx = ctx
		r = r.WithContext(context.WithValue(ctx, deadlineKey{}, time.Now().Add(time.Duration(h.Timeout))))
	}
	if h.bulkhead != nil {
		if err := h.bulkhead.Enter(ctx, h.Priority.class(r)); err != nil {
			return h.refuse(w, r, err)
		}
		leave := sync.OnceFunc(h.bulkhead.Leave)
		defer leave()
		w.upgraded = leave
	}
	err := next.ServeHTTP(w, r)
	if !w.wrote && errors.Is(context.Cause(ctx), errTotalTimeout) && statusOf(err) != http.StatusRequestTimeout {
		return gateway.Fail(r, http.StatusGatewayTimeout, codeTimeout, nil, opaque(errTotalTimeout, err))
	}
	return err
}

// refuse answers a request that found no place in the bulkhead.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	switch {
	case errors.Is(err, errTotalTimeout):
		return gateway.Fail(r, http.StatusGatewayTimeout, codeTimeout, nil, err)
	case errors.Is(err, errFull):
		shedTotal.WithLabelValues("full").Inc()
	case errors.Is(err, errWaited):
		shedTotal.WithLabelValues("wait").Inc()
	default:
		return caddyhttp.Error(statusClientGone, err)
	}
	w.Header().Set("Retry-After", retryAfter(time.Duration(h.Bulkhead.Wait)))
	return gateway.Fail(r, http.StatusServiceUnavailable, codeUnavailable, nil, err)
}

// statusClientGone is what Caddy logs for a client that went away.
const statusClientGone = 499

// sentry watches for the response's headers: with them the timeout ends and no
// fallback is possible any more.
type sentry struct {
	*caddyhttp.ResponseWriterWrapper
	ctx      context.Context // with a timeout only
	timer    *time.Timer
	upgraded func() // to be called when the connection stops being a request
	wrote    bool
}

// WriteHeader implements http.ResponseWriter.
func (s *sentry) WriteHeader(status int) {
	if s.wrote || s.tooLate(status) {
		return
	}
	if status >= 200 || status == http.StatusSwitchingProtocols {
		s.wrote = true
		if s.timer != nil {
			s.timer.Stop()
		}
	}
	if status == http.StatusSwitchingProtocols && s.upgraded != nil {
		s.upgraded()
	}
	s.ResponseWriterWrapper.WriteHeader(status)
}

// tooLate says whether this is reverse_proxy taking our timeout for a client
// that went away; ServeHTTP answers instead.
func (s *sentry) tooLate(status int) bool {
	return status == statusClientGone && s.ctx != nil && errors.Is(context.Cause(s.ctx), errTotalTimeout)
}

// ReadFrom implements io.ReaderFrom.
func (s *sentry) ReadFrom(r io.Reader) (int64, error) {
	if !s.wrote {
		s.WriteHeader(http.StatusOK)
	}
	return s.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError implements what http.ResponseController looks for. Flushing writes
// the headers, if nothing has.
func (s *sentry) FlushError() error {
	if !s.wrote {
		s.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(s.ResponseWriterWrapper.ResponseWriter).Flush()
}

// Write implements http.ResponseWriter.
func (s *sentry) Write(p []byte) (int, error) {
	if !s.wrote {
		s.WriteHeader(http.StatusOK)
	}
	return s.ResponseWriterWrapper.Write(p)
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ http.ResponseWriter         = (*sentry)(nil)
)

package cache

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// refresh fetches a new response in the background, unless somebody does so
// already. RFC 5861, 3.
func (h *Handler) refresh(x *exchange, stored *Entry) {
	fl, leads := h.store.flights.join(x.p.variant)
	if !leads {
		fl.leave()
		return
	}
	select {
	case h.refreshes <- struct{}{}:
	default: // enough of that
		h.store.flights.end(fl)
		fl.finish(lost)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), time.Duration(h.FillTimeout))
	bg := &exchange{h: h, next: x.next, q: x.q, t: x.t, p: x.p, now: x.now}
	bg.q.Control, bg.body = noDirectives, x.body
	bg.r = background(ctx, x.r)
	go func() {
		defer func() {
			cancel()
			<-h.refreshes
			if err := recover(); err != nil && !isAbort(err) {
				panic(err)
			}
		}()
		_ = bg.forward(stored, Verdict{Action: Validate, Why: WhyStale}, fl)
	}()
}

// isAbort tells whether a panic is the way in which a handler ends a response
// that broke off.
func isAbort(recovered any) bool {
	err, ok := recovered.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// background makes a request that outlives the one it is a copy of: with its own
// header, variables, log fields and replacer. Placeholders that earlier handlers
// set, such as {http.auth.user.id}, keep their values.
func background(ctx context.Context, r *http.Request) *http.Request {
	vars, _ := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
	old, _ := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	bg := r.Clone(ctx)
	bg.Body = http.NoBody
	if old == nil || server == nil {
		return bg
	}
	orig := ctx.Value(caddyhttp.OriginalRequestCtxKey)
	repl := caddy.NewReplacer()
	bg = caddyhttp.PrepareRequest(bg, repl, nil, server)
	bg = bg.WithContext(context.WithValue(bg.Context(), caddyhttp.OriginalRequestCtxKey, orig))
	for k, v := range vars {
		caddyhttp.SetVar(bg.Context(), k, v)
	}
	repl.Map(func(key string) (any, bool) {
		if strings.HasPrefix(key, "http.response.") {
			return nil, false
		}
		return old.Get(key)
	})
	return bg
}

package resilience

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// RoundTrip sends a request to the upstream that reverse_proxy has selected, if
// that upstream's breaker allows it.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ex := exchangeOf(req.Context())
	dial, ok := reverseproxy.GetDialInfo(req.Context())
	if ex == nil || !ok || dial.Upstream == nil {
		return t.HTTP.RoundTrip(req) // an active health check
	}
	t.group.adopt(t.serial, t.settings)
	now := time.Now()
	u := t.group.Upstream(dialAddress(req.Context(), dial.Upstream.Dial), t.settings, now)
	res, err := t.attempt(req, ex, u, now)
	t.note(req, ex, u)
	return res, err
}

// attempt makes one try on one upstream.
func (t *Transport) attempt(req *http.Request, ex *exchange, u *Upstream, now time.Time) (*http.Response, error) {
	permit, change, ok := u.breaker.Acquire(now)
	t.report(u, change)
	if !ok {
		t.metrics.refused.Inc()
		err := &refusedError{upstream: u.dial, why: "its breaker is open", wait: u.breaker.RetryAfter(now)}
		ex.advise(err.wait)
		return nil, err
	}
	ex.attempts++
	u.inFlight.Add(1)
	a := &try{t: t, u: u, permit: permit, start: now}
	return a.send(req)
}

// send makes the round trip. It releases the try unless a body that is still to
// be read does so.
func (a *try) send(req *http.Request) (*http.Response, error) {
	handedOver := false
	defer func() {
		if !handedOver {
			a.release()
		}
	}()
	sent := a.deadline(req, time.Duration(a.t.TryTimeout))
	if sent.Body != nil && sent.Body != http.NoBody {
		if sent == req {
			clone := *req
			sent = &clone
		}
		sent.Body = &requestBody{ReadCloser: sent.Body}
	}
	res, err := a.t.HTTP.RoundTrip(sent)
	if err != nil {
		return nil, a.failed(req, sent, err)
	}
	if a.timer != nil && !a.timer.Stop() {
		res.Body.Close() // the deadline was a moment faster
		return nil, a.failed(req, sent, errTryTimeout)
	}
	handedOver = true
	a.answered(req, res)
	return res, nil
}

// note leaves what happened for the access log and other modules.
func (t *Transport) note(req *http.Request, ex *exchange, u *Upstream) {
	state := u.breaker.State().String()
	caddyhttp.SetVar(req.Context(), gateway.VarAttempts, ex.attempts)
	caddyhttp.SetVar(req.Context(), gateway.VarBreaker, state)
	gateway.LogField(req, zap.Int("upstream_attempts", ex.attempts))
	gateway.LogField(req, zap.String("breaker", state))
}

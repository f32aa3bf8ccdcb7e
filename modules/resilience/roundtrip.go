package resilience

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// RoundTrip sends a request to the upstream that reverse_proxy has selected, or
// to others if that one cannot answer.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	vars := varsOf(req.Context())
	ex := exchangeIn(vars)
	dial, ok := reverseproxy.GetDialInfo(req.Context())
	if ex == nil || !ok || dial.Upstream == nil {
		return t.HTTP.RoundTrip(req) // an active health check
	}
	refuseH2C(req.Header)
	t.group.adopt(t.serial, t.settings)
	now := time.Now()
	u := t.group.Upstream(dialAddress(req.Context(), dial.Upstream.Dial), t.settings, now)
	c := &ex.call
	*c = call{t: t, ex: ex, req: req, vars: vars, begun: now, first: target{u: u, proxy: dial.Upstream, dial: dial}}
	res, err := c.run()
	c.note(u)
	return res, err
}

// note leaves what happened for the access log and other modules.
func (c *call) note(u *Upstream) {
	ex := c.ex
	ex.breaker = u.breaker.State()
	c.vars[gateway.VarAttempts] = ex.attempts
	c.vars[gateway.VarBreaker] = stateVars[ex.breaker]
	gateway.LogField(c.req, zap.Field{Key: varExchange, Type: zapcore.InlineMarshalerType, Interface: ex})
}

// stateVars holds the names of states as request variables, made once.
var stateVars = [...]any{Closed: Closed.String(), Open: Open.String(), HalfOpen: HalfOpen.String()}

// refuseH2C removes a client's wish to go on in HTTP/2 on the same connection,
// which RFC 9113, 3.1 has made obsolete: an upstream that grants it would give
// the client a way past everything that looks at requests.
func refuseH2C(h http.Header) {
	h.Del("Http2-Settings")
	for _, protocol := range h["Upgrade"] {
		if strings.Contains(strings.ToLower(protocol), "h2c") {
			h.Del("Upgrade")
			h.Del("Connection")
			return
		}
	}
}

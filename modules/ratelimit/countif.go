package ratelimit

import (
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// serveCounting lets the request go on and then refunds the zones that do not
// count such a response. It also refunds when the handler panics, as
// reverse_proxy does when an upstream breaks off: then status counts as it was.
func serveCounting(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, charged []charge) (err error) {
	sw := gateway.NewStatusWriter(w)
	defer func() {
		status := sw.Final(err)
		for i := range charged {
			c := &charged[i]
			if c.zone.CountIf != nil && !c.zone.counts(status) {
				c.zone.limiter.refund(&c.ask, &c.decision)
			}
		}
	}()
	return next.ServeHTTP(sw, r)
}

// remoteIP is the address of the connection, without its port.
func remoteIP(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

package ratelimit

import (
	"errors"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// statusWriter remembers the status of a response.
type statusWriter struct {
	*caddyhttp.ResponseWriterWrapper
	status int
}

// WriteHeader notes the first final status; 1xx are not.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// serveCounting lets the request go on and then refunds the zones that do not
// count such a response. It also refunds when the handler panics, as
// reverse_proxy does when an upstream breaks off: then status counts as it was.
func serveCounting(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, charged []charge) (err error) {
	sw := &statusWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	defer func() {
		status := sw.final(err)
		for i := range charged {
			c := &charged[i]
			if c.zone.CountIf != nil && !c.zone.counts(status) {
				c.zone.limiter.refund(&c.ask, &c.decision)
			}
		}
	}()
	return next.ServeHTTP(sw, r)
}

// final is the status that the client gets: what was written or, if an error
// route has yet to write, the error's.
func (w *statusWriter) final(err error) int {
	if w.status != 0 {
		return w.status
	}
	if err == nil {
		return http.StatusOK
	}
	var he caddyhttp.HandlerError
	if errors.As(err, &he) && he.StatusCode != 0 {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

// remoteIP is the address of the connection, without its port.
func remoteIP(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

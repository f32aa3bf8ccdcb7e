package edge

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(LogSample))
	httpcaddyfile.RegisterHandlerDirective("log_sample", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		handler := new(LogSample)
		return handler, handler.UnmarshalCaddyfile(h.Dispenser)
	})
}

// LogSample leaves most requests that went well out of the access log. What ended
// in an error, or with a status of 400 or more, is always logged.
type LogSample struct {
	// The share of the successes that are logged, in percent: 0 to 100.
	// Default: 0, none of them.
	Percent float64 `json:"percent,omitempty"`

	draw func() float64 // from [0, 1); a test has its own
}

// CaddyModule returns the Caddy module information.
func (*LogSample) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.log_sample", New: func() caddy.Module { return new(LogSample) }}
}

// Provision checks the share.
func (h *LogSample) Provision(caddy.Context) error {
	if !(h.Percent >= 0 && h.Percent <= 100) {
		return fmt.Errorf("log_sample: percent must be 0 to 100, got %v", h.Percent)
	}
	h.draw = rand.Float64
	return nil
}

// ServeHTTP decides about the log line once the answer is there.
func (h *LogSample) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	sw := gateway.NewStatusWriter(w)
	err := next.ServeHTTP(sw, r)
	if err == nil && sw.Final(nil) < http.StatusBadRequest && h.draw()*100 >= h.Percent {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
	return err
}

// UnmarshalCaddyfile reads the directive:
//
//	log_sample [<matcher>] <percent>%
func (h *LogSample) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "log_sample"
	var share string
	if !d.AllArgs(&share) {
		return d.ArgErr()
	}
	text, ok := strings.CutSuffix(share, "%")
	percent, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 100) {
		return d.Errf("log_sample: %q: want a share from 0%% to 100%%", share)
	}
	h.Percent = percent
	return nil
}

var (
	_ caddy.Provisioner           = (*LogSample)(nil)
	_ caddyhttp.MiddlewareHandler = (*LogSample)(nil)
	_ caddyfile.Unmarshaler       = (*LogSample)(nil)
)

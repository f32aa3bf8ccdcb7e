package problem

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("problem", parseCaddyfile)
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive:
//
//	problem {
//		html <file>
//		status <status>|4xx|5xx {
//			type   <uri>
//			title  <text>
//			detail <text>
//			html   <file>
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "problem"
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "html":
			if h.HTML != "" {
				return d.Err("problem: html is given twice")
			}
			if !d.AllArgs(&h.HTML) {
				return d.ArgErr()
			}
		case "status":
			if err := h.unmarshalStatus(d); err != nil {
				return err
			}
		default:
			return d.Errf("problem: unknown option %q", d.Val())
		}
	}
	return nil
}

func (h *Handler) unmarshalStatus(d *caddyfile.Dispenser) error {
	var status string
	if !d.AllArgs(&status) {
		return d.ArgErr()
	}
	if !validStatusKey(status) {
		return d.Errf("problem: status %q: want a status from 400 to 599, 4xx or 5xx", status)
	}
	if h.Status[status] != nil {
		return d.Errf("problem: status %s is given twice", status)
	}
	o := new(Override)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := o.unmarshalOption(d, status); err != nil {
			return err
		}
	}
	if *o == (Override{}) {
		return d.Errf("problem: status %s says nothing: want type, title, detail or html", status)
	}
	if h.Status == nil {
		h.Status = map[string]*Override{}
	}
	h.Status[status] = o
	return nil
}

func (o *Override) unmarshalOption(d *caddyfile.Dispenser, status string) error {
	fields := map[string]*string{"type": &o.Type, "title": &o.Title, "detail": &o.Detail, "html": &o.HTML}
	name := d.Val()
	field := fields[name]
	if field == nil {
		return d.Errf("problem: status %s: unknown option %q", status, name)
	}
	if *field != "" {
		return d.Errf("problem: status %s: %s is given twice", status, name)
	}
	if !d.AllArgs(field) {
		return d.ArgErr()
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)

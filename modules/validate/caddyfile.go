package validate

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("validate", parseCaddyfile)
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive:
//
//	validate [<matcher>] {
//		schema        <file>
//		openapi       <file>|<url> {
//			refresh    <duration>
//			base_path  <path>
//			on_missing refuse|pass
//			on_unknown refuse|pass
//			on_ambiguous refuse|pass
//			skip       <operationId>|"<METHOD> <path>" ...
//			responses  shadow
//			max_response <size>
//		}
//		strip_unknown
//		fill_defaults
//		max_body      <size>
//		read_timeout  <duration>
//		limits {
//			depth   <n>
//			values  <n>
//			members <n>
//			items   <n>
//			string  <n>
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "validate"
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := map[string]bool{}
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("validate: %s is given twice", option)
		}
		seen[option] = true
		if err := h.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "strip_unknown":
		h.StripUnknown = true
		return noArgs(d)
	case "fill_defaults":
		h.FillDefaults = true
		return noArgs(d)
	case "openapi":
		h.OpenAPI = new(OpenAPI)
		return h.OpenAPI.unmarshalCaddyfile(d)
	case "limits":
		return h.Limits.unmarshalCaddyfile(d)
	}
	var value string
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	return h.setOption(d, option, value)
}

func (h *Handler) setOption(d *caddyfile.Dispenser, option, value string) error {
	switch option {
	case "schema":
		h.Schema = value
	case "max_body":
		n, err := humanize.ParseBytes(value)
		if err != nil || n == 0 || n > 1<<40 {
			return d.Errf("validate: max_body %q: want a size such as 1MiB", value)
		}
		h.MaxBody = int64(n)
	case "read_timeout":
		t, err := caddy.ParseDuration(value)
		if err != nil || t <= 0 {
			return d.Errf("validate: read_timeout %q: want a duration such as 30s", value)
		}
		h.ReadTimeout = caddy.Duration(t)
	default:
		return d.Errf("validate: unknown option %q", option)
	}
	return nil
}

func (l *Limits) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	fields := l.fields()
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		field := fields[name]
		if field == nil {
			return d.Errf("validate: limits: unknown option %q", name)
		}
		if *field != 0 {
			return d.Errf("validate: limits: %s is given twice", name)
		}
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		n, err := strconv.Atoi(value)
		if err != nil || n <= 0 {
			return d.Errf("validate: limits: %s %q: want a whole number above 0", name, value)
		}
		*field = n
	}
	return nil
}

func (o *OpenAPI) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.Args(&o.Document) || d.NextArg() {
		return d.ArgErr()
	}
	texts := map[string]*string{
		"base_path": &o.BasePath, "on_missing": &o.OnMissing, "on_unknown": &o.OnUnknown,
		"on_ambiguous": &o.OnAmbiguous, "responses": &o.Responses,
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("validate: openapi: %s is given twice", option)
		}
		seen[option] = true
		switch {
		case option == "skip":
			if o.Skip = d.RemainingArgs(); len(o.Skip) == 0 {
				return d.ArgErr()
			}
		case option == "refresh":
			var value string
			if !d.AllArgs(&value) {
				return d.ArgErr()
			}
			t, err := caddy.ParseDuration(value)
			if err != nil || t < time.Second {
				return d.Errf("validate: openapi: refresh %q: want a duration of at least 1s", value)
			}
			o.Refresh = caddy.Duration(t)
		case option == "max_response":
			if err := o.unmarshalMaxResponse(d); err != nil {
				return err
			}
		case texts[option] != nil:
			if !d.AllArgs(texts[option]) {
				return d.ArgErr()
			}
		default:
			return d.Errf("validate: openapi: unknown option %q", option)
		}
	}
	if err := o.checkOptions(); err != nil {
		return d.Errf("validate: openapi: %v", err)
	}
	return nil
}

func (o *OpenAPI) unmarshalMaxResponse(d *caddyfile.Dispenser) error {
	var value string
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	n, err := humanize.ParseBytes(value)
	if err != nil || n == 0 || n > maxCopies {
		return d.Errf("validate: openapi: max_response %q: want a size such as 1MiB, at most 64MiB", value)
	}
	o.MaxResponse = int64(n)
	return nil
}

func noArgs(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)

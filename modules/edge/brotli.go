package edge

import (
	"fmt"
	"strconv"

	"github.com/andybalholm/brotli"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
)

func init() {
	caddy.RegisterModule(new(Brotli))
}

// Brotli is the encoder `br` (RFC 7932) of Caddy's encode directive, which has
// none of its own:
//
//	encode {
//		zstd
//		br
//		gzip 6
//	}
type Brotli struct {
	// How hard to compress, from 0 (fast) to 11 (small). Default: 5.
	Level *int `json:"level,omitempty"`

	level int
}

// DefaultBrotliLevel is the first that leaves clearly less than zstd does, for
// five times its cost (BenchmarkBrotli; docs/decisions/071-brotli-level.md has
// the figures). So br is for clients that do not take zstd, and pays where a
// cache keeps the result.
const DefaultBrotliLevel = 5

// CaddyModule returns the Caddy module information.
func (*Brotli) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.encoders.br", New: func() caddy.Module { return new(Brotli) }}
}

// Provision sets the level.
func (b *Brotli) Provision(caddy.Context) error {
	b.level = DefaultBrotliLevel
	if b.Level != nil {
		b.level = *b.Level
	}
	return nil
}

// Validate checks the level.
func (b *Brotli) Validate() error {
	if b.level < brotli.BestSpeed || b.level > brotli.BestCompression {
		return fmt.Errorf("br: level must be from %d to %d, got %d", brotli.BestSpeed, brotli.BestCompression, b.level)
	}
	return nil
}

// AcceptEncoding is the coding's name in Accept-Encoding.
func (*Brotli) AcceptEncoding() string { return "br" }

// NewEncoder returns an encoder; encode pools it.
func (b *Brotli) NewEncoder() encode.Encoder { return brotli.NewWriterLevel(nil, b.level) }

// UnmarshalCaddyfile reads the encoder's line in encode: br [<level>].
func (b *Brotli) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "br"
	if !d.NextArg() {
		return nil
	}
	level, err := strconv.Atoi(d.Val())
	if err != nil {
		return d.Errf("br: level %q: want a number from 0 to 11", d.Val())
	}
	b.Level = &level
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

var (
	_ encode.Encoding       = (*Brotli)(nil)
	_ caddy.Provisioner     = (*Brotli)(nil)
	_ caddy.Validator       = (*Brotli)(nil)
	_ caddyfile.Unmarshaler = (*Brotli)(nil)
)

package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// methodQuery is the safe method with a body. RFC 10008.
const methodQuery = "QUERY"

// maxQuery is the size of the largest body of a QUERY request that becomes part
// of a key, in bytes. Requests with larger ones go past the cache.
const maxQuery = 64 << 10

// query runs a QUERY request through the cache: its body, with its media type
// and encoding, is part of the key.
func (h *Handler) query(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxQuery+1))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return caddyhttp.Error(http.StatusRequestEntityTooLarge, err)
		}
		return caddyhttp.Error(http.StatusBadRequest, err)
	}
	if len(body) > maxQuery {
		r.Body = readCloser{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
		return h.bypass(w, r, next, WhyBypass)
	}
	r.Body = readCloser{bytes.NewReader(body), r.Body}
	sum := sha256.New()
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language"} {
		sum.Write(appendPart(nil, 'h', first(r.Header[name])))
	}
	sum.Write(body)
	x := h.newExchangeWith(w, r, next, base64.RawURLEncoding.EncodeToString(sum.Sum(nil)))
	x.body = body
	return x.serveCached()
}

type readCloser struct {
	io.Reader
	io.Closer
}

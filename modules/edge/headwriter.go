package edge

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// headWriter has the last word on a response's header: its amender sees it right
// before it is sent, after everything that upstreams and caches put there.
type headWriter struct {
	caddyhttp.ResponseWriterWrapper
	amender amender
	wrote   bool
}

// amender alters a response's header.
type amender interface{ amend(header http.Header) }

// amendFunc is an amender that is a function.
type amendFunc func(http.Header)

func (f amendFunc) amend(header http.Header) { f(header) }

func newHeadWriter(w http.ResponseWriter, amend amendFunc) *headWriter {
	return &headWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, amender: amend}
}

// WriteHeader is called for every header that is sent, 1xx and final.
func (w *headWriter) WriteHeader(status int) {
	w.amender.amend(w.Header())
	w.wrote = w.wrote || status >= http.StatusOK || status == http.StatusSwitchingProtocols
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *headWriter) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom keeps the way open for sendfile and splice.
func (w *headWriter) ReadFrom(src io.Reader) (int64, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.ReadFrom(src)
}

package validate

import (
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// tee writes an answer through, at once and unchanged, and keeps a copy of it as
// long as it may have to be checked. Flush, Hijack and deadlines reach the writer
// below through Unwrap. It belongs to one request.
type tee struct {
	*caddyhttp.ResponseWriterWrapper
	max    int64
	isHead bool

	status int // 0 until the final header
	header http.Header
	copy   []byte
	skip   bool   // nothing about it is checked
	wrote  bool   // there was a body
	unread string // why there is no copy of the body, empty as long as there is one
	failed bool   // the client did not get everything
}

func newTee(w http.ResponseWriter, max int64, isHead bool) *tee {
	return &tee{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, max: max, isHead: isHead}
}

// WriteHeader is called for every header that is sent, 1xx and final.
func (t *tee) WriteHeader(status int) {
	if t.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		t.begin(status)
	}
	t.ResponseWriterWrapper.WriteHeader(status)
}

// begin decides, by the header, whether the answer is to be copied.
func (t *tee) begin(status int) {
	t.status, t.header = status, t.Header().Clone()
	switch {
	case t.isHead, status == http.StatusNotModified, status == http.StatusPartialContent,
		status == http.StatusSwitchingProtocols:
		t.skip, t.unread = true, "skipped"
	case !isIdentity(t.header):
		t.unread = "encoded"
	case !isJSONHeader(t.header) && t.header.Get("Content-Type") != "":
		t.unread = "skipped"
	}
}

func isIdentity(h http.Header) bool {
	coding := h.Get("Content-Encoding")
	return coding == "" || strings.EqualFold(coding, "identity")
}

func isJSONHeader(h http.Header) bool {
	return isJSONType(mediaRange(h.Get("Content-Type")))
}

func (t *tee) Write(p []byte) (int, error) {
	if t.status == 0 {
		t.begin(http.StatusOK)
	}
	n, err := t.ResponseWriterWrapper.Write(p)
	t.keep(p[:n])
	t.failed = t.failed || err != nil
	return n, err
}

// ReadFrom leaves the way open for sendfile and splice where nothing is copied.
func (t *tee) ReadFrom(src io.Reader) (int64, error) {
	if t.status == 0 {
		t.begin(http.StatusOK)
	}
	if t.unread == "" {
		src = io.TeeReader(src, keeper{t})
	}
	n, err := t.ResponseWriterWrapper.ReadFrom(src)
	t.wrote = t.wrote || n > 0
	t.failed = t.failed || err != nil
	return n, err
}

// keeper copies what goes by and never fails.
type keeper struct{ t *tee }

func (k keeper) Write(p []byte) (int, error) {
	k.t.keep(p)
	return len(p), nil
}

// keep adds to the copy, or gives it up for good.
func (t *tee) keep(p []byte) {
	t.wrote = t.wrote || len(p) > 0
	if t.unread != "" {
		return
	}
	if int64(len(t.copy)+len(p)) > t.max {
		t.release()
		t.unread = "too_large"
		return
	}
	if copied.Add(int64(len(p))) > maxCopies {
		copied.Add(-int64(len(p)))
		t.release()
		t.unread = "busy"
		return
	}
	t.copy = append(t.copy, p...)
}

// release gives the copy back. It may be called again.
func (t *tee) release() {
	copied.Add(-int64(len(t.copy)))
	t.copy = nil
}

var _ io.ReaderFrom = (*tee)(nil)

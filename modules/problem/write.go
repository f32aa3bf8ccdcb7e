package problem

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// bodyHeaders describe a body that will not be sent, whoever set them. Headers
// such as WWW-Authenticate, Retry-After and RateLimit stay: they belong to the
// refusal.
var bodyHeaders = []string{
	"Content-Encoding", "Content-Language", "Content-Range", "Accept-Ranges",
	"Etag", "Last-Modified", "Trailer", "Content-Disposition",
}

// write sends the problem in the form that the client prefers.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, p *Problem) error {
	form := negotiate(strings.Join(r.Header["Accept"], ","))
	body, err := h.render(form, p)
	if err != nil {
		return err
	}
	header := w.Header()
	for _, name := range bodyHeaders {
		delete(header, name)
	}
	if header["Cache-Control"] == nil {
		header["Cache-Control"] = []string{"no-store"}
	}
	if !hasToken(header["Vary"], "Accept") {
		header["Vary"] = append(header["Vary"], "Accept")
	}
	header["X-Content-Type-Options"] = []string{"nosniff"}
	header["Content-Type"] = []string{form.contentType}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	if !bodyAllowed(p.Status) {
		delete(header, "Content-Type")
		delete(header, "Content-Length")
		body = nil
	}
	w.WriteHeader(p.Status)
	if r.Method == http.MethodHead || len(body) == 0 {
		return nil
	}
	// The client may have gone; there is nobody left to tell.
	_, _ = w.Write(body)
	return nil
}

// hasToken looks for a member in a list header (RFC 9110, 5.6.1).
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for member := range strings.SplitSeq(v, ",") {
			if m := strings.TrimSpace(member); m == "*" || strings.EqualFold(m, token) {
				return true
			}
		}
	}
	return false
}

// bodyAllowed follows RFC 9110, 6.4.1.
func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

func (h *Handler) render(form *mediaType, p *Problem) ([]byte, error) {
	switch form {
	case plainText:
		return p.text(), nil
	case htmlPage:
		return h.pages.render(p)
	}
	return json.Marshal(p)
}

func (p *Problem) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %s\n", p.Status, p.Error)
	if p.Detail != "" {
		fmt.Fprintln(&b, p.Detail)
	}
	for _, d := range p.Details {
		fmt.Fprintln(&b, strings.TrimSpace(d.Field+" "+d.Message))
	}
	if p.RequestID != "" {
		fmt.Fprintf(&b, "request id: %s\n", p.RequestID)
	}
	return b.Bytes()
}

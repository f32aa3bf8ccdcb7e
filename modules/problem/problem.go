package problem

import (
	"net/http"
	"strings"
	"unicode"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// Problem is what a client learns about an error: RFC 9457, section 3.1, and
// four members of ours (3.2).
type Problem struct {
	// A URI reference that names the kind of problem; about:blank means that
	// the status says it all.
	Type string `json:"type"`

	// The phrase of the status.
	Title string `json:"title"`

	Status int `json:"status"`

	// An explanation for people, if the config gives one.
	Detail string `json:"detail,omitempty"`

	// What happened in a few stable English words, such as "Validation failed".
	Error string `json:"error"`

	// The same for programs: "validation_failed".
	Code string `json:"code"`

	// Everything that is wrong with the request, field by field.
	Details []gateway.Detail `json:"details,omitempty"`

	// The id under which the log knows the request.
	RequestID string `json:"request_id,omitempty"`
}

// newProblem fills in what follows from the status and the code that the
// refusing module left. A module may leave either words or an identifier.
func newProblem(status int, given string) *Problem {
	p := &Problem{Type: "about:blank", Title: phrase(status), Status: status}
	switch {
	case given == "":
		p.Error = sentence(p.Title)
		p.Code = identifier(p.Error)
	case isIdentifier(given):
		p.Error, p.Code = sentence(p.Title), given
	default:
		p.Error, p.Code = given, identifier(given)
	}
	return p
}

// phrase is the reason phrase of a status, by RFC 9110 where net/http still has
// the names of its predecessors.
func phrase(status int) string {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return "Content Too Large"
	case http.StatusUnprocessableEntity:
		return "Unprocessable Content"
	case http.StatusRequestedRangeNotSatisfiable:
		return "Range Not Satisfiable"
	case 499: // what Caddy's reverse_proxy says when the client has gone
		return "Client Closed Request"
	}
	if s := http.StatusText(status); s != "" {
		return s
	}
	if status < http.StatusInternalServerError {
		return "Request Failed"
	}
	return "Server Failed"
}

// sentence writes a phrase with one capital: "Too many requests".
func sentence(phrase string) string {
	if phrase == strings.ToUpper(phrase) || strings.HasPrefix(phrase, "HTTP") {
		return phrase
	}
	first, rest := phrase[:1], phrase[1:]
	return first + strings.ToLower(rest)
}

// identifier writes words as a code: "too_many_requests".
func identifier(words string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(words) {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	return strings.Trim(b.String(), "_")
}

func isIdentifier(s string) bool {
	for _, r := range s {
		if r != '_' && r != '-' && r != '.' && !unicode.IsDigit(r) && (!unicode.IsLetter(r) || unicode.IsUpper(r)) {
			return false
		}
	}
	return s != ""
}

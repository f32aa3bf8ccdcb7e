package jwtauth

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	userPlaceholder = "http.auth.user."

	// varCaller is the request variable with the *Caller whose claims the
	// placeholders show: that of the last handler that let the request pass.
	varCaller = "fairway.jwt_auth.caller"
)

// setPlaceholders makes {http.auth.user.id} and {http.auth.user.<claim>} known.
// Claims are looked up only when a placeholder asks for them.
func setPlaceholders(r *http.Request, c *Caller, extra map[string]string) {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if _, mapped := vars[varCaller]; !mapped && vars != nil {
		repl.Map(func(name string) (any, bool) { return placeholder(vars, name) })
	}
	caddyhttp.SetVar(r.Context(), varCaller, c)
	repl.Set(userPlaceholder+"id", c.ID())
	for name, claim := range extra {
		repl.Set(userPlaceholder+name, c.text(claim))
	}
}

func placeholder(vars map[string]any, name string) (any, bool) {
	name, ours := strings.CutPrefix(name, userPlaceholder)
	if !ours {
		return nil, false
	}
	c, ok := vars[varCaller].(*Caller)
	if !ok {
		return nil, false
	}
	v, found := c.claims.find(name)
	return v.text(), found
}

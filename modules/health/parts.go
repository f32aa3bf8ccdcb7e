package health

import (
	"context"
	"fmt"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// partKinds are the checks that ask parts of the running config: the kind of
// those parts, and the word for their failure.
var partKinds = map[string]struct{ kind, word string }{
	"breakers": {"breaker", "open"},
	"keys":     {"jwt_auth", "no keys"},
}

// askParts passes if every part of a kind that can tell says that it works.
func askParts(app *gateway.App, check string) func(context.Context) error {
	wanted := partKinds[check]
	return func(context.Context) error {
		for _, p := range app.Parts() {
			c, ok := p.(gateway.Checker)
			if !ok || p.Kind() != wanted.kind {
				continue
			}
			if err := c.Check(); err != nil {
				return &failure{wanted.word, fmt.Errorf("%s %q: %w", p.Kind(), p.Name(), err)}
			}
		}
		return nil
	}
}

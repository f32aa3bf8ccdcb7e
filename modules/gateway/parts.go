package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Part is something an operator may look at: a rate-limit zone, a cache, a key
// set, an upstream. Its methods may be called at any time by any goroutine.
type Part interface {
	// Kind groups parts; it is the first path segment after /fairway/ in the
	// admin API, such as "cache".
	Kind() string

	// Name tells parts of one kind apart.
	Name() string

	// Snapshot returns the part's state as something that encodes to JSON. It
	// must not contain a secret.
	Snapshot() any
}

// Actor is a part that an operator can also tell to do something.
type Actor interface {
	Part

	// Act carries out the named action. It returns ErrUnknownAction if it has
	// no such action, ErrNotMine if the action is about something it does not
	// have, and an error made by BadArgument if the arguments are the caller's
	// mistake.
	Act(ctx context.Context, action string, args json.RawMessage) (any, error)
}

// Checker is a part that can tell whether it does its work. `health` asks it.
type Checker interface {
	Part

	// Check returns why the part cannot do its work, nil if it can. It waits
	// for nothing.
	Check() error
}

// ErrUnknownAction is returned by Actor.Act for an action it does not have.
var ErrUnknownAction = errors.New("unknown action")

// ErrNotMine is returned by Actor.Act if the action is about something, such as
// a zone or an upstream, that another part of the same kind may have.
var ErrNotMine = errors.New("not found")

// ArgumentError is a mistake of the one who called an action. Its text is shown
// to them.
type ArgumentError struct{ msg string }

func (e *ArgumentError) Error() string { return e.msg }

// BadArgument returns an ArgumentError with a formatted message.
func BadArgument(format string, args ...any) error {
	return &ArgumentError{msg: fmt.Sprintf(format, args...)}
}

// registry is the list of one config's parts.
type registry struct {
	mu    sync.RWMutex
	parts []Part
}

func (r *registry) add(p Part) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, found := slices.BinarySearchFunc(r.parts, p, comparePart)
	if found {
		return fmt.Errorf("%s %q is registered twice", p.Kind(), p.Name())
	}
	r.parts = slices.Insert(r.parts, i, p)
	return nil
}

func (r *registry) list() []Part {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.parts)
}

func comparePart(a, b Part) int {
	return cmp.Or(cmp.Compare(a.Kind(), b.Kind()), cmp.Compare(a.Name(), b.Name()))
}

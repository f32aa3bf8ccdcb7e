package resilience

import (
	"context"
	"sync"
)

// ender is something that ends, for a reason.
type ender interface{ end(cause error) }

// watch ends something when a context ends. It is used again if it was stopped
// in time.
type watch struct {
	over context.Context
	e    ender
	ring func() // made once
	undo func() bool
}

var watches = sync.Pool{New: func() any {
	w := new(watch)
	w.ring = func() { w.e.end(context.Cause(w.over)) }
	return w
}}

func startWatch(over context.Context, e ender) *watch {
	w := watches.Get().(*watch)
	w.over, w.e = over, e
	w.undo = context.AfterFunc(over, w.ring)
	return w
}

// stop ends the watch, which may not be used after that. One whose context has
// ended goes on.
func (w *watch) stop() {
	if w != nil && w.undo() {
		w.over, w.e, w.undo = nil, nil, nil
		watches.Put(w)
	}
}

package resilience

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// scope is a context that ends with the one it is made from, or before that by
// end. It does what context.WithCancelCause does with fewer allocations: it is
// part of something larger, and whoever waits for its end is kept in place.
// Safe for concurrent use once it has begun.
type scope struct {
	context.Context // the outer one

	mu    sync.Mutex
	done  chan struct{} // made when it is asked for
	cause error         // why it has ended; nil before
	watch *watch        // over the outer context; nil without one
	inner *try          // ends with it
	first func()        // is called at the end, and so is more
	more  []*func()
}

// ended is what the channel of a scope is that nobody has asked for in time.
var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// begin makes the scope follow a context, at whose end e is ended.
func (s *scope) begin(outer context.Context, e ender) {
	s.Context = outer
	if outer.Done() == nil {
		return
	}
	s.mu.Lock() // the outer context may end at once
	defer s.mu.Unlock()
	s.watch = startWatch(outer, e)
}

// finish ends the watch over the outer context: the scope is not needed any
// more.
func (s *scope) finish() {
	s.mu.Lock()
	w := s.watch
	s.watch = nil
	s.mu.Unlock()
	w.stop()
}

// end ends the scope, if nothing has before.
func (s *scope) end(cause error) {
	s.mu.Lock()
	if s.cause != nil {
		s.mu.Unlock()
		return
	}
	s.cause = cause
	if s.done == nil {
		s.done = ended
	} else {
		close(s.done)
	}
	inner, first, more := s.inner, s.first, s.more
	s.inner, s.first, s.more = nil, nil, nil
	s.mu.Unlock()
	if inner != nil {
		inner.end(cause)
	}
	if first != nil {
		first()
	}
	for _, f := range more {
		(*f)()
	}
}

// why returns why the scope has ended, or nil.
func (s *scope) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// timedOut says whether the total timeout has ended the scope; one of nil never
// ends.
func (s *scope) timedOut() bool { return s != nil && errors.Is(s.why(), errTotalTimeout) }

// adopt makes a try end with the scope, if it has no other yet.
func (s *scope) adopt(a *try) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inner != nil || s.cause != nil {
		return false
	}
	s.inner = a
	return true
}

// release forgets the try that it has adopted.
func (s *scope) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inner = nil
}

// Done implements context.Context.
func (s *scope) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
	}
	return s.done
}

// Err implements context.Context. A total timeout ends a request as a client
// that leaves does: reverse_proxy tries again and counts a failure of the
// upstream after anything but context.Canceled.
func (s *scope) Err() error {
	switch why := s.why(); {
	case why == nil:
		return nil
	case errors.Is(why, errTotalTimeout):
		return context.Canceled
	case errors.Is(why, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// AfterFunc is what package context looks for in contexts that are not its own,
// so that one which is made from this takes no goroutine. The function must not
// mind being called when it was to be stopped, as those of package context do
// not.
func (s *scope) AfterFunc(f func()) (stop func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		go f()
		return never
	}
	if s.first == nil {
		s.first = f
		return never
	}
	return s.addMore(f)
}

func (s *scope) addMore(f func()) (stop func() bool) {
	entry := &f
	s.more = append(s.more, entry)
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.Index(s.more, entry)
		if i < 0 {
			return false
		}
		s.more = slices.Delete(s.more, i, i+1)
		return true
	}
}

func never() bool { return false }

var _ context.Context = (*scope)(nil)

package resilience

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type scopeKey struct{}

// newScope returns a scope that follows a context.
func newScope(outer context.Context) *scope {
	s := new(scope)
	s.begin(outer, s)
	return s
}

var errOver = errors.New("over")

// Contexts of package context that are made from a scope end with it, know why,
// and see the values behind it.
func TestScope_ChildrenEndWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, cancel := context.WithCancel(context.WithValue(t.Context(), scopeKey{}, "value"))
		defer cancel()
		s := newScope(outer)
		one, cancelOne := context.WithCancel(s)
		defer cancelOne()
		two, cancelTwo := context.WithTimeout(s, time.Hour)
		defer cancelTwo()
		three, cancelThree := context.WithCancel(one)
		defer cancelThree()
		if three.Value(scopeKey{}) != "value" {
			t.Error("a value of the outer context is hidden")
		}
		s.end(errOver)
		for i, ctx := range []context.Context{s, one, two, three} {
			select {
			case <-ctx.Done():
			default:
				t.Fatalf("context %d has not ended", i)
			}
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Errorf("context %d ended with %v", i, ctx.Err())
			}
		}
		if s.finish(); !errors.Is(s.why(), errOver) || outer.Err() != nil {
			t.Errorf("the scope ended by %v, the outer context %v", s.why(), outer.Err())
		}
	})
}

func TestScope_EndsWithTheOuterContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, depth := range map[string]int{"one": 1, "in another": 2} {
			outer, cancel := context.WithCancelCause(t.Context())
			s := newScope(outer)
			for range depth - 1 {
				s = newScope(s)
			}
			var called atomic.Bool
			context.AfterFunc(s, func() { called.Store(true) })
			cancel(errOver)
			synctest.Wait()
			if s.Err() == nil || !called.Load() {
				t.Errorf("%s: the scope says %v, a function after it was called: %t", name, s.Err(), called.Load())
			}
			late, stop := context.WithCancel(s)
			if late.Err() == nil {
				t.Errorf("%s: a context made from a scope that has ended is alive", name)
			}
			stop()
		}
	})
}

// What has been stopped is not called at the end, whichever place it had.
func TestScope_StoppedFunctionsAreNotCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScope(t.Context())
		var calls [4]atomic.Int64
		var stops [4]func() bool
		for i := range calls {
			stops[i] = context.AfterFunc(s, func() { calls[i].Add(1) })
		}
		if !stops[0]() || !stops[2]() || stops[2]() {
			t.Error("a function is stopped once")
		}
		s.end(errOver)
		s.end(errOver)
		synctest.Wait()
		for i, want := range []int64{0, 1, 0, 1} {
			if got := calls[i].Load(); got != want {
				t.Errorf("function %d was called %d times, want %d", i, got, want)
			}
		}
		s.finish()
	})
}

// A context that is made from a scope takes no goroutine.
func TestScope_ChildrenTakeNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScope(t.Context())
		before := runtime.NumGoroutine()
		for range 50 {
			_, cancel := context.WithCancel(s)
			defer cancel()
		}
		if now := runtime.NumGoroutine(); now-before >= 50 {
			t.Errorf("%d goroutines more for 50 contexts", now-before)
		}
		s.finish()
	})
}

// counted counts how often it is told something.
type counted struct{ rings, ends atomic.Int64 }

func (c *counted) ring()     { c.rings.Add(1) }
func (c *counted) end(error) { c.ends.Add(1) }

// Alarms are used again by other requests: one that was stopped in time must
// never ring, and one that was too late must not be used while it rings. (Not
// in a bubble of synctest: the pool's timers are everybody's.)
func TestAlarm_RingsForNobodyElse(t *testing.T) {
	const n = 2000
	never, perhaps, once := make([]counted, n), make([]counted, n), make([]counted, n)
	for i := range n {
		a := setAlarm(time.Hour, &never[i])
		b := setAlarm(time.Duration(i%20)*time.Microsecond, &perhaps[i])
		setAlarm(time.Duration(i%20)*time.Microsecond, &once[i])
		a.stop()
		b.stop() // at about the same time
	}
	eventually(t, "every alarm that was left alone has rung", func() bool {
		for i := range n {
			if once[i].rings.Load() == 0 {
				return false
			}
		}
		return true
	})
	for i := range n {
		if a, b, c := never[i].rings.Load(), perhaps[i].rings.Load(), once[i].rings.Load(); a != 0 || b > 1 || c != 1 {
			t.Fatalf("alarm %d rang %d times when stopped, %d when stopped late, %d when not", i, a, b, c)
		}
	}
}

// Watches are used again, too, and those stopped at the moment their context
// ends must not end what another request watches for.
func TestWatch_EndsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		ended, kept := make([]counted, n), make([]counted, n)
		for i := range n {
			over, cancel := context.WithCancel(t.Context())
			w := startWatch(over, &ended[i])
			go cancel()
			if i%2 == 0 {
				synctest.Wait()
			}
			w.stop() // at about the same time
			startWatch(t.Context(), &kept[i]).stop()
			synctest.Wait()
			if got := ended[i].ends.Load(); got > 1 || i%2 == 0 && got != 1 {
				t.Fatalf("watch %d ended its own %d times", i, got)
			}
			if kept[i].ends.Load() != 0 {
				t.Fatalf("watch %d ended another's", i)
			}
		}
	})
}

// A scope says how it ended as contexts of package context do, so that whoever
// stands behind it tells a timeout from a client that went away.
func TestScope_ErrTellsATimeoutFromACancellation(t *testing.T) {
	for cause, want := range map[error]error{
		errTotalTimeout:          context.Canceled, // for reverse_proxy
		errTryTimeout:            context.DeadlineExceeded,
		errIdle:                  context.DeadlineExceeded,
		context.DeadlineExceeded: context.DeadlineExceeded,
		errHedged:                context.Canceled,
		context.Canceled:         context.Canceled,
	} {
		s := newScope(t.Context())
		child, stop := context.WithCancel(s)
		if s.Err() != nil {
			t.Errorf("a scope that goes on says %v", s.Err())
		}
		s.end(cause)
		s.end(errOver)
		if s.Err() != want || context.Cause(s) != want || child.Err() != want {
			t.Errorf("ended by %q: Err %v, Cause %v, of a child %v; want %v", cause, s.Err(), context.Cause(s), child.Err(), want)
		}
		stop()
		s.finish()
	}
}

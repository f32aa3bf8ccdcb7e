package cache

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// flights are the requests to the origin that others may wait for.
type flights struct {
	mu sync.Mutex
	by map[hash]*flight
}

// flight is one request to the origin. Its leader sends it; followers wait for
// the head and, if it may be shared with them, stream the body as it comes.
type flight struct {
	at hash

	mu sync.Mutex

	// known tells that the head is known, or that there will be none to share;
	// announced, if anybody waits for that, is then closed.
	known     bool
	announced chan struct{}

	// entry is the head, with its key, or nil if it is not to be shared. selects
	// is set before that is known.
	entry   *Entry
	selects selection

	// buf is what came of the body, from base on; it only grows, or loses its
	// front once the body is too large to be stored.
	buf    []byte
	base   int64
	last   time.Time // when the head or, last, some of the body came
	state  flightState
	moved  chan struct{} // closed when buf or state change; nil if nobody waits for that
	follow int           // those who wait for the head or stream
	sawOne bool          // somebody waited
	spills bool          // the body is too large to be stored
}

type flightState uint8

const (
	flying flightState = iota
	landed             // the body is whole
	lost               // it will never be
)

// errLost is what a follower gets when the body it streams breaks off.
var errLost = errors.New("the response that was shared broke off")

// errSpilled is what the leader's own client gets when the rest of the body
// comes to it directly.
var errSpilled = errors.New("the body is too large to be shared")

// join returns the flight to a place and whether the caller leads it. A caller
// that finds a flight is counted as follower and must call leave.
func (f *flights) join(at hash) (fl *flight, leads bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl = f.by[at]; fl != nil {
		fl.mu.Lock()
		fl.follow++
		fl.sawOne = true
		fl.mu.Unlock()
		return fl, false
	}
	fl = &flight{at: at}
	if f.by == nil {
		f.by = make(map[hash]*flight)
	}
	f.by[at] = fl
	return fl, true
}

// end takes a flight off the board. Its followers keep it.
func (f *flights) end(fl *flight) {
	f.mu.Lock()
	if f.by[fl.at] == fl {
		delete(f.by, fl.at)
	}
	f.mu.Unlock()
}

// announce tells followers what head came. With nil there is nothing to share.
func (fl *flight) announce(e *Entry) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.known {
		return
	}
	fl.known, fl.entry, fl.last = true, e, time.Now()
	if fl.announced != nil {
		close(fl.announced)
	}
}

// add appends to the body. Once the body is too large to be stored, window
// bounds how much of it is held: a follower that falls further behind loses it.
func (fl *flight) add(p []byte, window int) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.last = time.Now()
	if fl.spills {
		fl.shed(window)
		if fl.follow == 0 {
			fl.base += int64(len(p))
			return
		}
	}
	fl.buf = append(fl.buf, p...)
	fl.wake()
}

// shed drops the front of the buffer: all if nobody reads it, else what is
// beyond two windows, so that the bytes are moved rarely.
func (fl *flight) shed(window int) {
	drop := 0
	if fl.follow == 0 {
		drop = len(fl.buf)
	} else if len(fl.buf) > 2*window {
		drop = len(fl.buf) - window
	}
	if drop > 0 {
		fl.base += int64(drop)
		fl.buf = append([]byte(nil), fl.buf[drop:]...)
	}
}

// finish ends the flight.
func (fl *flight) finish(s flightState) {
	fl.announce(nil)
	fl.mu.Lock()
	if fl.state == flying {
		fl.state = s
		fl.wake()
	}
	fl.mu.Unlock()
}

func (fl *flight) wake() {
	if fl.moved != nil {
		close(fl.moved)
		fl.moved = nil
	}
}

// enter counts one more reader of the body.
func (fl *flight) enter() {
	fl.mu.Lock()
	fl.follow++
	fl.mu.Unlock()
}

func (fl *flight) leave() {
	fl.mu.Lock()
	fl.follow--
	fl.mu.Unlock()
}

// watched tells whether anyone ever waited for this flight.
func (fl *flight) watched() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.sawOne
}

// following is how many wait for it now.
func (fl *flight) following() int {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.follow
}

// whenKnown is closed once the head is known.
func (fl *flight) whenKnown() <-chan struct{} {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.announced == nil {
		fl.announced = make(chan struct{})
		if fl.known {
			close(fl.announced)
		}
	}
	return fl.announced
}

// wait waits for the head. It returns nil if there is none to share, if the
// leader takes longer than patience, or if ctx ends.
func (fl *flight) wait(ctx context.Context, patience time.Duration) *Entry {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-fl.whenKnown():
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return nil
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.state == lost || fl.spills {
		return nil
	}
	return fl.entry
}

// stalled tells whether the body is under way but nothing came for so long that
// a request had better ask the origin itself.
func (fl *flight) stalled(patience time.Duration) bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.known && fl.state == flying && time.Since(fl.last) > patience
}

// next returns what of the body follows after off, waiting for it. done is true
// with the last of it.
//
// The leader's own client is never left behind: it stops with errSpilled when
// it has what came before the spill.
func (fl *flight) next(ctx context.Context, off int64, leader bool) (p []byte, done bool, err error) {
	for {
		fl.mu.Lock()
		if leader && fl.spills && off == fl.base+int64(len(fl.buf)) {
			fl.mu.Unlock()
			return nil, false, errSpilled
		}
		if off < fl.base {
			fl.mu.Unlock()
			return nil, false, errLost
		}
		p, state := fl.buf[off-fl.base:], fl.state
		p = p[:len(p):len(p)]
		if fl.moved == nil && len(p) == 0 && state == flying {
			fl.moved = make(chan struct{})
		}
		moved := fl.moved
		fl.mu.Unlock()
		switch {
		case state == landed:
			return p, true, nil
		case len(p) > 0:
			return p, false, nil
		case state == lost:
			return nil, false, errLost
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// complete returns the entry with the body that came: the same one if nobody
// waited, since then nobody has seen it, and who comes later finds it complete.
func (fl *flight) complete(e *Entry) *Entry {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.sawOne {
		return e.withBody(fl.buf)
	}
	e.setBody(fl.buf)
	return e
}

// grow makes room for a body of known length.
func (fl *flight) grow(n int) {
	fl.mu.Lock()
	fl.buf = slices.Grow(fl.buf, n)
	fl.mu.Unlock()
}

// spill tells that the body will not be stored, and so not held as a whole.
func (fl *flight) spill() {
	fl.mu.Lock()
	fl.spills = true
	fl.wake()
	fl.mu.Unlock()
}

func (fl *flight) spilled() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.spills
}

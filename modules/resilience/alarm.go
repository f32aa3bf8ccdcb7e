package resilience

import (
	"sync"
	"time"
)

// alarm is a timer that is used again by other requests if it was stopped in
// time, since a new one takes three allocations.
type alarm struct {
	timer *time.Timer
	to    ringer
}

// ringer is told that a time has passed, in a goroutine of its own.
type ringer interface{ ring() }

var alarms = sync.Pool{New: func() any { return new(alarm) }}

func setAlarm(after time.Duration, to ringer) *alarm {
	a := alarms.Get().(*alarm)
	a.to = to
	if a.timer == nil {
		a.timer = time.AfterFunc(after, func() { a.to.ring() })
	} else {
		a.timer.Reset(after)
	}
	return a
}

// stop ends the alarm, which may not be used after that. One that is ringing
// goes on doing so.
func (a *alarm) stop() {
	if a != nil && a.timer.Stop() {
		a.to = nil
		alarms.Put(a)
	}
}

package resilience

import (
	"sync"
	"time"
)

const (
	// budgetSlots is how many seconds a budget looks back.
	budgetSlots = 10

	// extraFloor is how many extra tries may always be under way at once.
	extraFloor = 64
)

// Budget bounds extra tries (retries and hedges) to a share of the first ones:
// within the last ten seconds, and among those under way. So an upstream that
// fails altogether is asked little more often than a healthy one. What was under
// way on an upstream when its breaker opened may go beyond that, once in ten
// seconds (see Rescue). Safe for concurrent use.
type Budget struct {
	mu    sync.Mutex
	share float64
	floor uint64 // extra tries per window that are always allowed
	slots [budgetSlots]budgetSlot
	last  int64 // second of the newest slot
	sum   budgetSlot

	under budgetSlot // tries under way

	lent   ejection  // the last that went beyond the share
	lentAt time.Time // when it began to
}

// ejection is one opening of a breaker: it ended this generation of permits.
type ejection struct {
	breaker    *Breaker
	generation uint64
}

// budgetSlot counts tries.
type budgetSlot struct{ first, extra uint64 }

// NewBudget allows extra tries up to a share of the first ones, but never less
// than a number per second.
func NewBudget(share float64, perSecond int) *Budget {
	return &Budget{share: share, floor: uint64(perSecond) * budgetSlots}
}

// adopt changes what is allowed and keeps the counts.
func (b *Budget) adopt(share float64, perSecond int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.share, b.floor = share, uint64(perSecond)*budgetSlots
}

// First counts a request's first try. Every First is followed by one Done.
func (b *Budget) First(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slot(now).first++
	b.sum.first++
	b.under.first++
}

// Extra asks for an extra try. Every Extra that is granted is followed by one
// Done.
func (b *Budget) Extra(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	slot := b.slot(now)
	if !b.affordable() || b.under.extra+1 > max(extraFloor, uint64(b.share*float64(b.under.first))) {
		return false
	}
	b.grant(slot)
	return true
}

// Rescue asks for the extra try of a request that was under way on an upstream
// when that was ejected. All of those fail at about the same time, so how many
// are under way does not matter; and each leaves an upstream that is asked no
// more, so one ejection in ten seconds may use more than the share. It is
// charged for all the same: other extra tries wait until it is paid off.
// Every Rescue that is granted is followed by one Done.
func (b *Budget) Rescue(from ejection, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	slot := b.slot(now)
	if !b.affordable() && b.lent != from {
		if now.Sub(b.lentAt) < budgetSlots*time.Second {
			return false
		}
		b.lent, b.lentAt = from, now
	}
	b.grant(slot)
	return true
}

// affordable says whether the window has room for another extra try.
func (b *Budget) affordable() bool {
	return b.sum.extra+1 <= max(b.floor, uint64(b.share*float64(b.sum.first)))
}

func (b *Budget) grant(slot *budgetSlot) {
	slot.extra++
	b.sum.extra++
	b.under.extra++
}

// Done says that a try has ended.
func (b *Budget) Done(extra bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if extra {
		b.under.extra--
	} else {
		b.under.first--
	}
}

// slot returns the slot of this second and forgets those that are too old.
func (b *Budget) slot(now time.Time) *budgetSlot {
	second := now.Unix()
	for b.last < second {
		b.last = max(b.last+1, second-budgetSlots+1)
		old := &b.slots[b.last%budgetSlots]
		b.sum.first -= old.first
		b.sum.extra -= old.extra
		*old = budgetSlot{}
	}
	return &b.slots[b.last%budgetSlots]
}

// Facts returns the tries of the last ten seconds.
func (b *Budget) Facts(now time.Time) (first, extra uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slot(now)
	return b.sum.first, b.sum.extra
}

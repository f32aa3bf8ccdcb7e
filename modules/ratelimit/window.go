package ratelimit

// A sliding window is kept as counts in slots of equal width. An event in slot i
// is judged by the counts of slots i-S to i, S being the number of slots in a
// window. These cover more than a window, never less: whatever interval of the
// window's length ends with that event begins after the start of slot i-S. So no
// such interval ever holds more than the limit; the price is that a saturated
// key gets S/(S+1) of it, 92% with 12 slots and 98% with 60.

// record is the view of one policy's counts for one key. It is not safe for
// concurrent use.
type record struct {
	*counts
	ring []uint32 // counts of the S+1 newest slots, that of slot i at i mod (S+1)
}

// counts is what most decisions need. The ring is only wanted when a slot is
// over.
type counts struct {
	slot int64 // the newest

	// The oldest slot that has a count, if any has. Under gcra, the theoretical
	// arrival time in µs.
	since int64

	sum    uint32
	latest uint32 // the newest slot's count, which the ring does not have yet
}

// advance drops the counts that have left the window by the given slot. Time
// that seems to go back, because two callers raced, is held still.
func (r record) advance(slot int64) {
	n := int64(len(r.ring))
	switch {
	case slot <= r.slot:
		return
	case r.sum == 0:
		r.slot = slot
		return
	case slot-r.slot >= n:
		clear(r.ring)
		r.sum, r.latest, r.slot = 0, 0, slot
		return
	}
	i := r.slot % n
	r.ring[i], r.latest = r.latest, 0
	for ; r.slot < slot; r.slot++ {
		if i++; i == n {
			i = 0
		}
		r.sum -= r.ring[i]
		r.ring[i] = 0
	}
	r.findOldest()
}

// findOldest sets since, when the oldest count may have gone.
func (r record) findOldest() {
	n := int64(len(r.ring))
	for r.since = max(r.since, r.slot-n+1, 0); r.since < r.slot; r.since++ {
		if r.ring[r.since%n] > 0 {
			return
		}
	}
}

// charge counts cost events in the newest slot. The count saturates, which can
// only refuse too much.
func (r record) charge(cost uint32) {
	if r.sum == 0 {
		r.since = r.slot
	}
	cost = min(cost, ^uint32(0)-r.sum)
	r.latest += cost
	r.sum += cost
}

// count is where a slot's count is kept.
func (r record) count(slot int64) *uint32 {
	if slot == r.slot {
		return &r.latest
	}
	return &r.ring[slot%int64(len(r.ring))]
}

// refund takes back events that were charged to a slot, as far as they are
// still counted.
func (r record) refund(slot int64, cost uint32) {
	if slot > r.slot || r.slot-slot >= int64(len(r.ring)) {
		return
	}
	c := r.count(slot)
	cost = min(cost, *c)
	*c -= cost
	r.sum -= cost
	r.findOldest()
}

// fits reports whether cost more events stay within the limit.
func (r record) fits(limit, cost uint32) bool {
	return uint64(r.sum)+uint64(cost) <= uint64(limit)
}

// wait is the time from now until enough counts have left for cost events to
// fit, or until all have left if they never fit.
func (r record) wait(p *policy, limit, cost uint32, now int64) int64 {
	left := r.sum
	n := int64(len(r.ring))
	slot := max(r.since, r.slot-n+1, 0)
	for ; slot < r.slot; slot++ {
		left -= r.ring[slot%n]
		if uint64(left)+uint64(cost) <= uint64(limit) {
			break
		}
	}
	return max((slot+n)*p.width-now, 1)
}

// reset is the time from now until the oldest count leaves: when the remaining
// quota next grows. It is zero if nothing is counted.
func (r record) reset(p *policy, now int64) int64 {
	if r.sum == 0 {
		return 0
	}
	return max((r.since+int64(len(r.ring)))*p.width-now, 1)
}

// absorb makes r refuse at least whatever o would refuse, now and at every later
// time: for each slot the counts from there on become the larger of the two.
// That is how a record that must make room lives on in one that it shares.
func (r record) absorb(o record) {
	n := int64(len(r.ring))
	if n == 0 { // gcra
		r.since = max(r.since, o.since)
		return
	}
	newest := max(r.slot, o.slot)
	r.advance(newest)
	o.advance(newest)
	var mine, theirs, done uint32
	for slot := newest; slot > newest-n && slot >= 0; slot-- {
		mine += *r.count(slot)
		theirs += *o.count(slot)
		*r.count(slot) = max(mine, theirs) - done
		done = max(mine, theirs)
	}
	r.sum, r.since = done, 0
	r.findOldest()
}

// clear forgets all counts.
func (r record) clear() {
	clear(r.ring)
	r.sum, r.latest, r.since = 0, 0, 0
}

package ratelimit

// A sliding window is kept as counts in slots of equal width. An event in slot i
// is judged by the counts of slots i-S to i, S being the number of slots in a
// window. These cover more than a window, never less: whatever interval of the
// window's length ends with that event begins after the start of slot i-S. So no
// such interval ever holds more than the limit; the price is that a saturated
// key gets S/(S+1) of it, 92% with 12 slots and 98% with 60.

// record is the view of one policy's counts for one key: the ring holds the
// counts of the last S+1 slots, the one of slot i at i mod (S+1). It is not safe
// for concurrent use; the shard holds the lock.
type record struct {
	*head
	ring []uint32
}

// head is the fixed part of a record.
type head struct {
	key    Key
	slot   int64 // the newest slot in the ring
	expiry int64 // when every count has left the window; under gcra, the theoretical arrival time
	sum    uint32
	policy uint32 // id of the policy
}

// advance drops the counts that have left the window by the given slot. Time
// that seems to go back, because two callers raced, is held still.
func (r record) advance(slot int64) {
	n := int64(len(r.ring))
	if slot <= r.slot {
		return
	}
	if slot-r.slot >= n {
		clear(r.ring)
		r.sum, r.slot = 0, slot
		return
	}
	i := r.slot % n
	for ; r.slot < slot; r.slot++ {
		if i++; i == n {
			i = 0
		}
		r.sum -= r.ring[i]
		r.ring[i] = 0
	}
}

// charge counts cost events in the newest slot. The count saturates, which can
// only refuse too much.
func (r record) charge(p *policy, cost uint32) {
	r.put(r.slot, cost)
	r.expiry = (r.slot + p.slots + 1) * p.width
}

func (r record) put(slot int64, cost uint32) {
	if room := ^uint32(0) - r.sum; cost > room {
		cost = room
	}
	r.ring[slot%int64(len(r.ring))] += cost
	r.sum += cost
}

// refund takes back events that were charged to a slot, as far as they are
// still counted.
func (r record) refund(slot int64, cost uint32) {
	if slot > r.slot || r.slot-slot >= int64(len(r.ring)) {
		return
	}
	c := &r.ring[slot%int64(len(r.ring))]
	cost = min(cost, *c)
	*c -= cost
	r.sum -= cost
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
	slot := r.slot - n + 1
	for ; slot < r.slot; slot++ {
		if slot < 0 {
			continue
		}
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
	n := int64(len(r.ring))
	for slot := max(r.slot-n+1, 0); slot < r.slot; slot++ {
		if r.ring[slot%n] > 0 {
			return max((slot+n)*p.width-now, 1)
		}
	}
	return max((r.slot+n)*p.width-now, 1)
}

// absorb makes r refuse at least whatever o would refuse, now and at every later
// time: for each slot the counts from there on become the larger of the two.
// That is how a record that must make room lives on in one that it shares.
func (r record) absorb(o record) {
	newest := max(r.slot, o.slot)
	r.advance(newest)
	o.advance(newest)
	n := int64(len(r.ring))
	var mine, theirs, done uint32
	for slot := newest; slot > newest-n && slot >= 0; slot-- {
		i := slot % n
		mine += r.ring[i]
		theirs += o.ring[i]
		r.ring[i] = max(mine, theirs) - done
		done = max(mine, theirs)
	}
	r.sum = done
	r.expiry = max(r.expiry, o.expiry)
}

package ratelimit

// The generic cell rate algorithm (ITU-T I.371), `algorithm gcra`: each event
// takes up an interval of window/limit, and a key may be ahead of time by one
// window. It spreads events evenly and needs one number per key, but admits up
// to twice the limit in a window that begins with a burst: the burst, and what
// flows back meanwhile. The number is the theoretical arrival time, in
// counts.since.

// decideSmooth is decide under gcra.
func (a *ask) decideSmooth(held []record, now int64, d *decision) {
	for i, r := range held {
		judgeSmooth(&a.set.policies[i], a, i, r.since, now, d)
	}
	if !d.ok {
		return
	}
	for i, r := range held {
		d.slots[i] = now
		r.since = max(r.since, now) + a.interval(&a.set.policies[i])*int64(a.cost)
	}
}

func (a *ask) interval(p *policy) int64 {
	if a.share <= 1 {
		return p.interval()
	}
	scaled := *p
	scaled.limit = a.limit(p)
	return scaled.interval()
}

func judgeSmooth(p *policy, a *ask, i int, arrival, now int64, d *decision) {
	limit := a.limit(p)
	if limit == 0 {
		*d = decision{policy: uint8(i), wait: p.window, reset: p.window}
		return
	}
	step := a.interval(p)
	cost := min(a.cost, limit+1) // what is more never fits either, but would overflow
	next := max(arrival, now) + step*int64(cost)
	ahead := next - now - step*int64(limit)
	if ahead > 0 {
		if d.ok || ahead > d.wait {
			*d = decision{policy: uint8(i), wait: ahead, reset: ahead}
		}
		return
	}
	if left := uint32(-ahead / step); d.ok && left < d.remaining {
		d.policy, d.remaining = uint8(i), left
		d.reset = step - (-ahead)%step
	}
}

// smoothCount is how many events an arrival time stands for.
func smoothCount(p *policy, arrival, now int64) uint32 {
	if arrival <= now {
		return 0
	}
	step := p.interval()
	return uint32(min((arrival-now+step-1)/step, int64(^uint32(0))))
}

package ratelimit

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// slowWindow is a record as one would write it without regard to cost: every
// charge with its slot.
type slowWindow struct {
	slots   int64
	charges []slowCharge
}

type slowCharge struct {
	slot int64
	cost uint32
}

// since is what is counted from a slot on.
func (w *slowWindow) since(slot int64) (sum uint32) {
	for _, c := range w.charges {
		if c.slot >= slot {
			sum += c.cost
		}
	}
	return sum
}

func (w *slowWindow) refund(slot, newest int64, cost uint32) {
	if slot > newest || slot < newest-w.slots {
		return
	}
	for i := range w.charges {
		if c := &w.charges[i]; c.slot == slot {
			back := min(cost, c.cost)
			c.cost -= back
			cost -= back
		}
	}
}

// wait is the time until cost fits, tried slot by slot.
func (w *slowWindow) wait(newest int64, p *policy, cost uint32, now int64) int64 {
	slot := newest
	for ; slot <= newest+w.slots; slot++ {
		if uint64(w.since(slot-w.slots))+uint64(cost) <= uint64(p.limit) {
			break
		}
	}
	return max(slot*p.width-now, 1)
}

func (w *slowWindow) reset(newest int64, p *policy, now int64) int64 {
	for slot := newest - w.slots; slot <= newest; slot++ {
		if w.since(slot) < w.since(newest-w.slots) {
			return max((slot+w.slots)*p.width-now, 1)
		}
	}
	if w.since(newest-w.slots) == 0 {
		return 0
	}
	return max((newest+w.slots+1)*p.width-now, 1)
}

// TestWindow_AgreesWithAList compares the ring with a list of charges.
func TestWindow_AgreesWithAList(t *testing.T) {
	many(t, 3000, 60)
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 20).Draw(t, "slots")
		p := policy{limit: uint32(rapid.IntRange(0, 40).Draw(t, "limit")), slots: int64(slots), width: 1000}
		r := record{&counts{slot: 50}, make([]uint32, slots+1)}
		model := &slowWindow{slots: int64(slots)}
		now := 50 * p.width
		t.Repeat(map[string]func(*rapid.T){
			"charge": func(t *rapid.T) {
				cost := uint32(rapid.IntRange(0, 9).Draw(t, "cost"))
				r.charge(cost)
				model.charges = append(model.charges, slowCharge{r.slot, cost})
			},
			"advance": func(t *rapid.T) {
				now += rapid.Int64Range(0, p.width*int64(slots+3)).Draw(t, "µs")
				r.advance(now / p.width)
			},
			"a little": func(t *rapid.T) {
				now += rapid.Int64Range(0, 2*p.width).Draw(t, "µs")
				r.advance(now / p.width)
			},
			"refund": func(t *rapid.T) {
				slot, cost := r.slot-rapid.Int64Range(-1, int64(slots)+2).Draw(t, "ago"), uint32(rapid.IntRange(1, 9).Draw(t, "cost"))
				r.refund(slot, cost)
				model.refund(slot, r.slot, cost)
			},
			"": func(t *rapid.T) {
				if want := model.since(r.slot - int64(slots)); r.sum != want {
					t.Fatalf("sum %d, want %d", r.sum, want)
				}
				if got, want := r.reset(&p, now), model.reset(r.slot, &p, now); got != want {
					t.Fatalf("reset %d, want %d", got, want)
				}
				for _, cost := range []uint32{1, 5} {
					if got, want := r.wait(&p, p.limit, cost, now), model.wait(r.slot, &p, cost, now); !r.fits(p.limit, cost) && got != want && want <= (r.slot+int64(slots)+1)*p.width-now {
						t.Fatalf("wait for %d: %d, want %d", cost, got, want)
					}
				}
			},
		})
	})
}

// A record that absorbed another refuses whatever either would, at every later
// time, and no more than both together.
func TestWindow_AbsorbForgetsNothing(t *testing.T) {
	many(t, 2000, 30)
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 13).Draw(t, "slots")
		fill := func(name string) (record, *slowWindow) {
			r, model := record{&counts{}, make([]uint32, slots+1)}, &slowWindow{slots: int64(slots)}
			slot := int64(0)
			for range rapid.IntRange(0, 20).Draw(t, name) {
				slot += rapid.Int64Range(0, 3).Draw(t, "slots on")
				r.advance(slot)
				cost := uint32(rapid.IntRange(1, 9).Draw(t, "cost"))
				r.charge(cost)
				model.charges = append(model.charges, slowCharge{r.slot, cost})
			}
			return r, model
		}
		a, modelA := fill("a")
		b, modelB := fill("b")
		a.absorb(b)
		newest := a.slot
		for slot := newest; slot < newest+int64(slots)+2; slot++ {
			a.advance(slot)
			x, y := modelA.since(slot-int64(slots)), modelB.since(slot-int64(slots))
			if a.sum < max(x, y) || a.sum > x+y {
				t.Fatalf("in slot %d: %d, want at least %d and %d, at most their sum", slot, a.sum, x, y)
			}
		}
		if a.sum != 0 {
			t.Fatalf("%d counted for ever", a.sum)
		}
	})
}

// TestTable_AgreesWithAMap compares the open addressing with a Go map: keys are
// found where they were put, whatever grew, went or expired in between.
func TestTable_AgreesWithAMap(t *testing.T) {
	many(t, 300, 300)
	rapid.Check(t, func(t *rapid.T) {
		const width = 1000
		table := newTable(3)
		s := &table.shards[0]
		p := policy{limit: 1, slots: 2, width: width, id: 7}
		set := &policySet{policies: []policy{p}}
		want := make(map[uint64]int64) // the expiry of each
		now := int64(10 * width)
		key := func(t *rapid.T) Key {
			// Few distinct high bits: long runs of neighbours.
			return Key{lo: rapid.Uint64Range(0, 3).Draw(t, "high")<<62 | rapid.Uint64Range(0, 40).Draw(t, "low") ^ uint64(p.id)*0x9e3779b97f4a7c15}
		}
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				k := key(t)
				if s.find(k.under(&p)) >= 0 {
					t.Skip("there")
				}
				a := &ask{key: k, set: set, bounds: bounds{keys: 64 * 1000}}
				if !table.insert(s, a, &p, now) {
					t.Fatal("no room")
				}
				r := s.record(s.find(k.under(&p)), table.ring)
				r.charge(uint32(k.under(&p).id()) | 1)
				want[k.under(&p).id()] = (now/width + 3) * width
			},
			"remove": func(t *rapid.T) {
				k := key(t).under(&p)
				if i := s.find(k); i >= 0 {
					table.remove(s, i)
					delete(want, k.id())
				}
			},
			"sweep": func(t *rapid.T) {
				now += rapid.Int64Range(0, 2*width).Draw(t, "µs")
				table.sweep(now)
				for id, expiry := range want {
					if expiry <= now {
						delete(want, id)
					}
				}
			},
			"": func(t *rapid.T) {
				if table.size() != len(want) {
					t.Fatalf("%d records, want %d", table.size(), len(want))
				}
				for id := range want {
					i := s.find(Key{lo: id})
					if i < 0 {
						t.Fatalf("%x is lost", id)
					}
					if got := s.record(i, table.ring).sum; got != uint32(id)|1 {
						t.Fatalf("%x has the counts of another: %d", id, got)
					}
				}
			},
		})
	})
}

// A key with several windows keeps its records when one of them must make room
// for another.
func TestMemory_NoPolicyEvictsAnother(t *testing.T) {
	m := newMemory(2, false)
	set := testSet(t, 2, false, "3/1s", "3/1m", "3/1h", "3/1d")
	b := bounds{keys: 64 * 8, evict: true}
	now := 100_000 * second
	for i := range 5000 {
		admitted := 0
		for range 5 {
			a := testAsk(set, fmt.Sprint("key", i), 1)
			a.bounds = b
			if m.take(a, now).ok {
				admitted++
			}
		}
		if admitted > 3 {
			t.Fatalf("key %d: %d admitted, limit 3", i, admitted)
		}
	}
	if m.table.evicted.Load() == 0 {
		t.Fatal("nothing was evicted: the test shows nothing")
	}
}

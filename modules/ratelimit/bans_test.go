package ratelimit

import (
	"fmt"
	"testing"
)

// Whoever floods the gateway with keys that get banned must not make each further
// refusal look at all bans.
func TestBans_AFullListIsNotSearched(t *testing.T) {
	const room, now = 4096, 1000 * second
	b := newBans()
	for i := range room {
		if !b.add(KeyOf(fmt.Sprint("banned", i)), now+1, 0, room) {
			t.Fatalf("ban %d of %d was not taken", i, room)
		}
	}
	if b.add(KeyOf("late"), now+10*second, now, room) || b.left(KeyOf("late"), now) > 0 {
		t.Error("a list full of bans in force took one more")
	}
	if !b.add(KeyOf("banned7"), now+10*second, now, room) || b.left(KeyOf("banned7"), now) != 10*second {
		t.Error("a key in the full list was not banned for longer")
	}
	before := len(b.until)
	if !b.add(KeyOf("late"), now+20*second, now+second, room) {
		t.Error("a list full of bans that have ended took no more")
	}
	if gone := before + 1 - len(b.until); gone < 1 || gone > evictionSample {
		t.Errorf("one ban made %d others go, want 1 to %d: the work is bounded", gone, evictionSample)
	}
	if b.sweep(now + second); len(b.until) != 2 || b.count.Load() != 2 {
		t.Errorf("%d bans (counted: %d) after a sweep, want the two in force", len(b.until), b.count.Load())
	}
}

// A rule's ban ends no earlier than the one that an operator ordered meanwhile.
func TestBans_ARuleDoesNotShortenAnOrder(t *testing.T) {
	b, k := newBans(), KeyOf("a")
	b.order(k, 3600*second)
	if b.add(k, 60*second, 0, 10); b.left(k, 0) != 3600*second {
		t.Errorf("banned for %d µs, want the hour that was ordered", b.left(k, 0))
	}
	if b.order(k, 30*second); b.left(k, 0) != 30*second {
		t.Errorf("banned for %d µs, want the 30 s that were ordered last", b.left(k, 0))
	}
}

// What an operator orders is done, whatever clients brought about before.
func TestState_AnOperatorsBanIsTakenByAFullList(t *testing.T) {
	s := newState(defaultSlots, false)
	for i := range defaultMaxKeys {
		s.bans.until[Key{hi: uint64(i)}] = 1000 * second
	}
	k := KeyOf("abuser")
	if s.changed(k, 60*second, 0); s.bans.left(k, 0) != 60*second {
		t.Errorf("banned for %d µs, want a minute", s.bans.left(k, 0))
	}
}

package edge

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// newID returns a UUID of version 7 (RFC 9562, 5.7): the time in milliseconds, 12
// bits of its fraction (6.2, method 3), and 62 random bits. Those are of the
// runtime's own generator, which is ChaCha8, seeded by the operating system:
// nobody can tell the next id from the last.
func newID(now time.Time) string {
	ns := now.UnixNano()
	ms, rest := uint64(ns/1e6), uint64(ns%1e6)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], ms<<16|7<<12|rest*4096/1e6)
	binary.BigEndian.PutUint64(id[8:], 0b10<<62|rand.Uint64()>>2)

	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

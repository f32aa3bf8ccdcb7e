package cache

import (
	"encoding/binary"
	"errors"
)

// recordVersion is the first byte of a record in Redis; a node that meets
// another version takes the record for absent.
const recordVersion = 2

var errRecord = errors.New("not a record of this version")

// record is a complete response as Redis keeps it, without its body. Moments are in
// milliseconds of Redis's clock, so that nodes need not agree on the time.
type record struct {
	entry *Entry
	tags  []string

	// stamp is a moment before the origin was asked. A purge at or after it
	// makes the record worthless.
	stamp int64
}

// appendRecord encodes a record. shift is what to add to this node's moments.
func appendRecord(dst []byte, r *record, shift int64) []byte {
	e := r.entry
	dst = append(dst, recordVersion)
	for _, n := range [...]uint64{uint64(e.status), uint64(e.flags)} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, t := range [...]int64{e.born, e.expires, e.swr, e.sie, e.lost, e.keep} {
		if t != 0 {
			t += shift
		}
		dst = binary.AppendVarint(dst, t)
	}
	for _, n := range [...]int64{r.stamp, int64(len(e.body))} {
		dst = binary.AppendVarint(dst, n)
	}
	dst = appendString(dst, e.key)
	dst = appendString(dst, e.own())
	dst = appendString(dst, e.head)
	dst = binary.AppendUvarint(dst, uint64(len(r.tags)))
	for _, tag := range r.tags {
		dst = appendString(dst, tag)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// parseRecord decodes a record and joins it with its body. It never panics, and
// refuses what is not consistent: what is in Redis need not come from us.
func parseRecord(p, body []byte, shift int64) (*record, error) {
	d := decoder{p: p}
	if len(p) == 0 || d.byte() != recordVersion {
		return nil, errRecord
	}
	e := new(Entry)
	r := &record{entry: e}
	e.status, e.flags = uint16(d.uvarint()), uint16(d.uvarint())
	for _, t := range [...]*int64{&e.born, &e.expires, &e.swr, &e.sie, &e.lost, &e.keep} {
		if *t = d.varint(); *t != 0 {
			*t -= shift
		}
	}
	r.stamp = d.varint()
	size := d.varint()
	own := ""
	e.key, own, e.head = d.string(), d.string(), d.string()
	if own != "" {
		e.alter(func(r *rare) { r.own = own })
	}
	for range min(d.uvarint(), maxTags) {
		r.tags = append(r.tags, d.string())
	}
	if d.bad || size != int64(len(body)) || e.status < 200 || e.status > 599 || e.has(flagPartial|flagAbandon) {
		return nil, errRecord
	}
	if !e.adoptHead() {
		return nil, errRecord
	}
	e.body = body
	return r, nil
}

// decoder reads what appendRecord wrote. After the first mistake it returns
// zeros.
type decoder struct {
	p   []byte
	bad bool
}

func (d *decoder) byte() byte {
	if len(d.p) == 0 {
		d.bad = true
		return 0
	}
	b := d.p[0]
	d.p = d.p[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.p)
	if size <= 0 || n > 1<<62 {
		d.bad, d.p = true, nil
		return 0
	}
	d.p = d.p[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.p)
	if size <= 0 {
		d.bad, d.p = true, nil
		return 0
	}
	d.p = d.p[size:]
	return n
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.p)) {
		d.bad, d.p = true, nil
		return ""
	}
	s := string(d.p[:n])
	d.p = d.p[n:]
	return s
}

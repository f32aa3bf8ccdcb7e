package cache

import (
	"strings"
	"time"
)

// ParseDate reads an HTTP date in any of its three forms and returns Unix
// seconds. RFC 9110, 5.6.7. It accepts names in any case, as RFC 9111, 4.2
// recommends, and nothing else: a date that merely looks like one may have been
// meant as something else. now (Unix seconds) settles the century of a
// two-digit year.
func ParseDate(s string, now int64) (int64, bool) {
	comma := strings.IndexByte(s, ',')
	switch {
	case comma == 3:
		return parseIMF(s)
	case comma > 3:
		return parseRFC850(s, comma, now)
	default:
		return parseAsctime(s)
	}
}

var (
	dayNames     = [...]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	longDayNames = [...]string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
	monthNames   = [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
)

// parseIMF reads "Sun, 06 Nov 1994 08:49:37 GMT".
func parseIMF(s string) (int64, bool) {
	if len(s) != 29 || s[4] != ' ' || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' || s[25] != ' ' ||
		!strings.EqualFold(s[26:], "GMT") || find(dayNames[:], s[:3]) < 0 {
		return 0, false
	}
	day, ok1 := digits(s[5:7])
	month := find(monthNames[:], s[8:11])
	year, ok2 := digits(s[12:16])
	clock, ok3 := parseClock(s[17:25])
	if !ok1 || month < 0 || !ok2 || !ok3 {
		return 0, false
	}
	return unix(year, month, day, clock)
}

// parseRFC850 reads "Sunday, 06-Nov-94 08:49:37 GMT".
func parseRFC850(s string, comma int, now int64) (int64, bool) {
	rest := s[comma+1:]
	if find(longDayNames[:], s[:comma]) < 0 || len(rest) != 23 || rest[0] != ' ' || rest[3] != '-' ||
		rest[7] != '-' || rest[10] != ' ' || rest[19] != ' ' || !strings.EqualFold(rest[20:], "GMT") {
		return 0, false
	}
	day, ok1 := digits(rest[1:3])
	month := find(monthNames[:], rest[4:7])
	year, ok2 := digits(rest[8:10])
	clock, ok3 := parseClock(rest[11:19])
	if !ok1 || month < 0 || !ok2 || !ok3 {
		return 0, false
	}
	// more than 50 years in the future means the past century
	thisYear := time.Unix(now, 0).UTC().Year()
	year += thisYear - thisYear%100
	if year > thisYear+50 {
		year -= 100
	}
	return unix(year, month, day, clock)
}

// parseAsctime reads "Sun Nov  6 08:49:37 1994".
func parseAsctime(s string) (int64, bool) {
	if len(s) != 24 || s[3] != ' ' || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' || find(dayNames[:], s[:3]) < 0 {
		return 0, false
	}
	month := find(monthNames[:], s[4:7])
	day, ok1 := digits(strings.TrimPrefix(s[8:10], " "))
	clock, ok2 := parseClock(s[11:19])
	year, ok3 := digits(s[20:])
	if month < 0 || !ok1 || !ok2 || !ok3 {
		return 0, false
	}
	return unix(year, month, day, clock)
}

// parseClock reads "08:49:37" into seconds. A leap second is allowed.
func parseClock(s string) (int, bool) {
	if s[2] != ':' || s[5] != ':' {
		return 0, false
	}
	h, ok1 := digits(s[:2])
	m, ok2 := digits(s[3:5])
	sec, ok3 := digits(s[6:])
	if !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || sec > 60 {
		return 0, false
	}
	return h*3600 + m*60 + sec, true
}

func unix(year, month, day, clock int) (int64, bool) {
	t := time.Date(year, time.Month(month+1), day, 0, 0, clock, 0, time.UTC)
	if day < 1 || time.Date(year, time.Month(month+1), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return 0, false
	}
	return t.Unix(), true
}

func digits(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, s != ""
}

func find(names []string, s string) int {
	for i, n := range names {
		if strings.EqualFold(n, s) {
			return i
		}
	}
	return -1
}

package resilience

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// words reads a Caddyfile line of keywords in any order, each with its values:
// `budget 20% min 3`. A keyword may not come twice.
type words struct {
	d      *caddyfile.Dispenser
	option string
	args   []string
	at     int // of the current word; -1 before the first
	seen   map[string]bool
}

func newWords(d *caddyfile.Dispenser, option string) *words {
	return &words{d: d, option: option, args: d.RemainingArgs(), at: -1, seen: map[string]bool{}}
}

func (w *words) rest() int { return len(w.args) - w.at - 1 }

func (w *words) next() bool {
	w.at++
	return w.at < len(w.args)
}

func (w *words) word() string { return w.args[w.at] }

func (w *words) unknown() error {
	return w.d.Errf("%s: unknown word %q", w.option, w.word())
}

// value reads the one value of the current keyword with parse.
func (w *words) value(parse func(string) error) error {
	keyword := w.word()
	if w.seen[keyword] {
		return w.d.Errf("%s: %s is given twice", w.option, keyword)
	}
	w.seen[keyword] = true
	if !w.next() {
		return w.d.Errf("%s: %s has no value", w.option, keyword)
	}
	if err := parse(w.word()); err != nil {
		return w.d.Errf("%s: %s: %v", w.option, keyword, err)
	}
	return nil
}

func (w *words) percent(to *Percent) error {
	return w.value(func(s string) error { return parsePositivePercent(s, to) })
}

func (w *words) duration(to *caddy.Duration) error {
	return w.value(func(s string) error { return parseDuration(s, to) })
}

func (w *words) count(to *int) error {
	return w.value(func(s string) error { return parseCount(s, to) })
}

func parsePositivePercent(s string, to *Percent) error {
	p, err := ParsePercent(s)
	if err == nil && p == 0 {
		err = fmt.Errorf("%q must be above 0%%", s)
	}
	*to = p
	return err
}

func parseDuration(s string, to *caddy.Duration) error {
	v, err := caddy.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 10s", s)
	}
	if v <= 0 {
		return fmt.Errorf("%q must be above zero", s)
	}
	*to = caddy.Duration(v)
	return nil
}

func parseCount(s string, to *int) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a positive number", s)
	}
	*to = n
	return nil
}

// oneDuration reads the only argument of an option.
func oneDuration(d *caddyfile.Dispenser, option string, to *caddy.Duration) error {
	var s string
	if !d.AllArgs(&s) {
		return d.ArgErr()
	}
	if err := parseDuration(s, to); err != nil {
		return d.Errf("%s: %v", option, err)
	}
	return nil
}

// list reads the values of the current keyword up to one of the others.
func (w *words) list(others ...string) []string {
	var values []string
	for w.rest() > 0 && !slices.Contains(others, w.args[w.at+1]) {
		w.next()
		values = append(values, w.word())
	}
	return values
}

package ratelimit

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// keyTemplate is a key with its placeholders found once, so that the common key,
// one placeholder, is one look-up per request.
type keyTemplate struct {
	text         string
	placeholders []string
	single       bool // the text is nothing but one placeholder
	ipv4, ipv6   int
}

func parseKeyTemplate(text string) (keyTemplate, error) {
	k := keyTemplate{text: text}
	for rest := text; ; {
		start := strings.IndexByte(rest, '{')
		if start < 0 {
			break
		}
		if start > 0 && rest[start-1] == '\\' {
			rest = rest[start+1:]
			continue
		}
		end := strings.IndexByte(rest[start:], '}')
		if end < 0 {
			return k, fmt.Errorf("%q: a placeholder is not closed", text)
		}
		if name := rest[start+1 : start+end]; name != "" {
			k.placeholders = append(k.placeholders, name)
		}
		rest = rest[start+end+1:]
	}
	k.single = len(k.placeholders) == 1 && text == "{"+k.placeholders[0]+"}"
	return k, nil
}

// expand returns the key of a request, and whether it has any content. A key
// without placeholders always has.
func (k *keyTemplate) expand(repl *caddy.Replacer) (key string, ok bool) {
	switch {
	case len(k.placeholders) == 0:
		return k.text, true
	case k.single:
		key, _ = repl.GetString(k.placeholders[0])
		ok = key != ""
	default:
		key = repl.ReplaceAll(k.text, "")
		for _, name := range k.placeholders {
			if v, _ := repl.GetString(name); v != "" {
				ok = true
				break
			}
		}
	}
	if k.ipv4 > 0 || k.ipv6 > 0 {
		key = maskAddress(key, k.ipv4, k.ipv6)
	}
	return key, ok
}

// maskAddress reduces an IP address to its network; anything else it returns as
// it is.
func maskAddress(key string, ipv4, ipv6 int) string {
	addr, err := netip.ParseAddr(key)
	if err != nil {
		return key
	}
	addr = addr.Unmap().WithZone("")
	bits := ipv6
	if addr.Is4() {
		bits = ipv4
	}
	if bits == 0 {
		return key
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return key
	}
	return prefix.String()
}

// costTemplate is a number, or a placeholder that yields one.
type costTemplate struct {
	fixed       uint32
	placeholder string
}

func parseCost(s string) (costTemplate, error) {
	if s == "" {
		return costTemplate{fixed: 1}, nil
	}
	if len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' && strings.IndexByte(s[1:], '{') < 0 {
		return costTemplate{placeholder: s[1 : len(s)-1]}, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > maxEvents {
		return costTemplate{}, fmt.Errorf("cost %q: want a whole number from 0 to %d, or a placeholder", s, maxEvents)
	}
	return costTemplate{fixed: uint32(n)}, nil
}

// of returns the cost of a request. What is no number costs 1, and what is above
// all limits is refused like any cost above the limit.
func (c *costTemplate) of(repl *caddy.Replacer) uint32 {
	if c.placeholder == "" {
		return c.fixed
	}
	v, _ := repl.GetString(c.placeholder)
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 64)
	if err != nil {
		return 1
	}
	return uint32(min(n, maxEvents+1))
}

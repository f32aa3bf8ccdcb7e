package cache

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Validate checks the options.
func (h *Handler) Validate() error {
	for _, d := range []struct {
		name  string
		value caddy.Duration
	}{
		{"ttl", h.TTL},
		{"stale_while_revalidate", h.StaleWhileRevalidate},
		{"stale_if_error", h.StaleIfError},
		{"force_ttl", h.ForceTTL},
		{"hit_for_miss", h.HitForMiss},
		{"fill_timeout", h.FillTimeout},
		{"l2: ttl", h.L2.TTL},
		{"l2: lock", h.L2.Lock},
	} {
		if d.value < 0 {
			return fmt.Errorf("cache: %s must not be negative, got %s", d.name, time.Duration(d.value))
		}
	}
	switch {
	case strings.ContainsAny(h.Name, " \t\r\n{}"):
		return fmt.Errorf("cache: name must have no spaces or braces, got %q", h.Name)
	case h.MaxSize < 1<<20:
		return fmt.Errorf("cache: max_size must be at least 1MiB, got %d bytes", h.MaxSize)
	case h.MaxBody < 1 || h.MaxBody > h.MaxSize || h.MaxBody > 1<<31:
		return fmt.Errorf("cache: max_body must be between 1 byte and max_size (%d), and at most 2GiB, got %d", h.MaxSize, h.MaxBody)
	case h.VaryLimit < 1 || h.VaryLimit > 4096:
		return fmt.Errorf("cache: vary_limit must be between 1 and 4096, got %d", h.VaryLimit)
	case h.TagsHeader != "" && !isToken(h.TagsHeader):
		return fmt.Errorf("cache: tags_header is no field name: %q", h.TagsHeader)
	case h.L2.MaxBody < 1:
		return fmt.Errorf("cache: l2: max_body must be at least 1 byte, got %d", h.L2.MaxBody)
	case h.ForceTTL > 0 && h.TTL > 0:
		return errors.New("cache: ttl and force_ttl exclude each other")
	}
	return h.validateLists()
}

func (h *Handler) validateLists() error {
	for _, m := range h.Methods {
		if m != http.MethodGet && m != http.MethodPost && m != methodQuery {
			return fmt.Errorf("cache: methods: only GET, POST and QUERY can be stored, got %q", m)
		}
	}
	for _, status := range h.Statuses {
		if status < 200 || status > 599 {
			return fmt.Errorf("cache: statuses: %d is no final status code", status)
		}
	}
	for _, name := range slices.Concat(h.Key.Headers, h.Key.Cookies) {
		if !isToken(name) {
			return fmt.Errorf("cache: key: %q is no name of a header or cookie", name)
		}
	}
	k := h.Key
	if len(k.QueryOnly) > 0 && len(k.QueryWithout) > 0 || k.IgnoreQuery && (k.SortQuery || len(k.QueryOnly)+len(k.QueryWithout) > 0) {
		return errors.New("cache: key: query only, query without and query off exclude each other")
	}
	return nil
}

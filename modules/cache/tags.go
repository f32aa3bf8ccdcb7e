package cache

import (
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// maxTags and maxTagLength bound what is remembered of a response's tags.
const (
	maxTags      = 128
	maxTagLength = 256
)

// tagsOf returns the tags of a response: those of RFC 9875 (Cache-Groups), of
// Surrogate-Key (separated by spaces), of Cache-Tag (by commas), and of a field
// that the options name.
func tagsOf(h http.Header, own string) []string {
	var tags []string
	add := func(tag string) {
		if tag != "" && len(tag) <= maxTagLength && len(tags) < maxTags {
			tags = append(tags, tag)
		}
	}
	for _, g := range groups(h["Cache-Groups"]) {
		add(g)
	}
	for _, line := range h["Surrogate-Key"] {
		for tag := range strings.FieldsSeq(line) {
			add(tag)
		}
	}
	fields := [...]string{"Cache-Tag", own}
	for _, name := range fields {
		if name == "" || name == "Surrogate-Key" {
			continue
		}
		for _, line := range h[name] {
			for tag := range strings.SplitSeq(line, ",") {
				add(trimOWS(tag))
			}
		}
	}
	return tags
}

// groups reads a List of Strings, RFC 9875, 2 and 3; what is no such list is
// ignored as a whole.
func groups(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	var names []string
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok {
			return nil
		}
		if s, ok := item.Value.(string); ok {
			names = append(names, s)
		}
	}
	return names
}

// tagTarget is the name under which a tag is purged. Groups and tags are of one
// origin: the same name at another host is another tag. RFC 9875, 2.1.
func tagTarget(host, tag string) string { return strings.ToLower(host) + "\n" + tag }

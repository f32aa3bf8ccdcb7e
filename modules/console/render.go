package console

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// render prints a JSON answer as an indented outline: a line a value, objects
// and lists of objects below their name, lists of plain values on one line.
func render(w io.Writer, answer []byte) error {
	var value any
	if err := json.Unmarshal(answer, &value); err != nil {
		return fmt.Errorf("the admin endpoint did not answer JSON: %w", err)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	outline(table, 0, value)
	return table.Flush()
}

func outline(w io.Writer, depth int, value any) {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			entry(w, depth, name, v[name])
		}
	case []any:
		for i, item := range v {
			entry(w, depth, fmt.Sprintf("%d", i+1), item)
		}
	default:
		fmt.Fprintf(w, "%s%s\n", strings.Repeat("  ", depth), plain(v))
	}
}

func entry(w io.Writer, depth int, name string, value any) {
	indent := strings.Repeat("  ", depth)
	if text, ok := line(value); ok {
		fmt.Fprintf(w, "%s%s\t%s\n", indent, name, text)
		return
	}
	fmt.Fprintf(w, "%s%s\n", indent, name)
	outline(w, depth+1, value)
}

// line returns a value as one line of text, if it fits on one.
func line(value any) (string, bool) {
	switch v := value.(type) {
	case map[string]any:
		return "-", len(v) == 0
	case []any:
		words := make([]string, len(v))
		for i, item := range v {
			switch item.(type) {
			case map[string]any, []any:
				return "", false
			}
			words[i] = plain(item)
		}
		if len(words) == 0 {
			return "-", true
		}
		return strings.Join(words, " "), true
	}
	return plain(value), true
}

func plain(value any) string {
	switch v := value.(type) {
	case nil:
		return "-"
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case float64:
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", v), "0"), ".")
	}
	return fmt.Sprint(value)
}

package main

import (
	"fmt"
	"strings"
)

// lineIndex says on which line a key stands, so that a message can point at
// it: the TOML library keeps that to itself. It knows `key = value` lines under
// [table] and [[table]] headers, which is how manifests are written; a key in
// an inline table is simply not found, and the message names no line.
type lineIndex map[string]int

func indexLines(text string) lineIndex {
	idx := lineIndex{}
	table, n := "", 0
	count := map[string]int{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "["):
			table = strings.Trim(strings.TrimSpace(beforeAny(line, "#")), "[] \t")
			n = count[table]
			count[table]++
			idx.add("", 0, table, i+1)
			idx.add(table, n, "", i+1)
		case strings.Contains(line, "=") && !strings.HasPrefix(line, "#"):
			key := strings.Trim(strings.TrimSpace(beforeAny(line, "=")), `"'`)
			idx.add(table, n, key, i+1)
		}
	}
	return idx
}

func beforeAny(s, sep string) string {
	before, _, _ := strings.Cut(s, sep)
	return before
}

func (idx lineIndex) add(table string, n int, key string, line int) {
	at := fmt.Sprintf("%s/%d/%s", table, n, key)
	if _, taken := idx[at]; !taken {
		idx[at] = line
	}
}

// find is the line of a key in the nth entry of a table; the line of the
// entry's header if the key is missing there; 0 if neither is known.
func (idx lineIndex) find(table string, n int, key string) int {
	if line := idx[fmt.Sprintf("%s/%d/%s", table, n, key)]; line > 0 {
		return line
	}
	return idx[fmt.Sprintf("%s/%d/", table, n)]
}

// first is the first line of a key in any entry of a table, or 0.
func (idx lineIndex) first(table, key string) int {
	for n := 0; ; n++ {
		if line := idx[fmt.Sprintf("%s/%d/%s", table, n, key)]; line > 0 {
			return line
		}
		if table == "" || idx[fmt.Sprintf("%s/%d/", table, n)] == 0 {
			return 0
		}
	}
}

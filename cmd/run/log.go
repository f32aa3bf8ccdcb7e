package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
)

// lastWords is what a program said last: the last line of its log that is not
// blank, without the dress of structured logging.
func lastWords(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return "no log"
	}
	defer f.Close()
	last := "it said nothing"
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if line := strings.TrimSpace(scan.Text()); line != "" {
			last = line
		}
	}
	return undress(last)
}

// undress takes the message and the error out of a JSON log line. What was
// logged in passing is not why a program ended.
func undress(line string) string {
	var entry struct {
		Level   string `json:"level"`
		Message string `json:"msg"`
		Error   string `json:"error"`
	}
	if json.Unmarshal([]byte(line), &entry) != nil || entry.Message == "" {
		return line
	}
	if level := strings.ToLower(entry.Level); level == "info" || level == "debug" {
		return "it named no error"
	}
	if entry.Error == "" {
		return entry.Message
	}
	return entry.Message + ": " + entry.Error
}

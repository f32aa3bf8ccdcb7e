package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"strings"
)

// execLine is how xcaddy logs a command it starts.
var execLine = regexp.MustCompile(`^\[INFO\] exec \(timeout=[^)]*\): \S*?(go .*?)\s*$`)

// progress turns xcaddy's log into one short line per command, and keeps the
// output of these commands in a file, for the case that one fails.
type progress struct {
	out  io.Writer // the user
	full *os.File  // everything
}

// Write takes one message of the log package.
func (p *progress) Write(msg []byte) (int, error) {
	line, _, _ := bytes.Cut(msg, []byte("\n"))
	if found := execLine.FindSubmatch(line); found != nil {
		fmt.Fprintf(p.out, "build: $ %s\n", found[1])
	} else if bytes.HasPrefix(line, []byte("[WARNING]")) || bytes.HasPrefix(line, []byte("[ERROR]")) {
		fmt.Fprintf(p.out, "build: %s\n", line)
	}
	return p.full.Write(msg)
}

// capture sends xcaddy's log through a progress, and what its commands print
// into the file; the returned function puts everything back.
func capture(out io.Writer, full *os.File) (restore func()) {
	stdout, stderr := os.Stdout, os.Stderr
	flags, writer := log.Flags(), log.Writer()
	os.Stdout, os.Stderr = full, full
	log.SetFlags(0)
	log.SetOutput(&progress{out, full})
	return func() {
		os.Stdout, os.Stderr = stdout, stderr
		log.SetFlags(flags)
		log.SetOutput(writer)
	}
}

// lastCommand is what the last captured command printed, the end of it if that
// was much.
func lastCommand(file string) string {
	const most = 20
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	var said []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case execLine.MatchString(line):
			said = nil
		case !strings.HasPrefix(line, "[INFO] "):
			said = append(said, line)
		}
	}
	return strings.Join(said[max(0, len(said)-most):], "\n")
}

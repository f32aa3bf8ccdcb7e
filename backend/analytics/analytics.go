// Package analytics keeps what happened to users for whoever counts it: one JSON
// object a line, in a file for each day.
//
//	{"id":"user.created-42","type":"user.created","user_id":42,"time":"2026-01-31T12:00:00Z"}
//
// There are no names and no addresses in it. An event has one id however often it
// is told, and is in its file once: whoever gathers the files of several machines
// can tell by the id what they have already.
package analytics

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// Event is something that happened to a user.
type Event struct {
	// ID is the same whenever the same event is told.
	ID     string    `json:"id"`
	Type   string    `json:"type"`
	UserID int64     `json:"user_id"`
	Time   time.Time `json:"time"`
}

// Folder keeps events in files that are named after their day in UTC, like
// 2026-01-31.ndjson. It is safe for concurrent use.
type Folder struct {
	dir string
	mu  sync.Mutex
}

// NewFolder makes the folder if it is not there.
func NewFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of events: %w", err)
	}
	return &Folder{dir: dir}, nil
}

// Add writes an event to the disk. again says that it may be there already, since
// an attempt before this one ended before it could say how: then it is looked for.
func (f *Folder) Add(e Event, again bool) error {
	e.Time = e.Time.UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	path := filepath.Join(f.dir, e.Time.Format(time.DateOnly)+".ndjson")
	if again {
		whole, found, err := find(path, e.ID)
		if found || err != nil {
			return err
		}
		if !whole { // a power cut broke the last line: it stays as it is
			line = append([]byte{'\n'}, line...)
		}
	}
	return appendSynced(path, append(line, '\n'))
}

// appendSynced writes line in one piece, so that no other process can write into
// the middle of it.
func appendSynced(path string, line []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(line)
	return errors.Join(err, file.Sync(), file.Close())
}

// find looks for the event in a file, and whether the file ends with a whole line.
func find(path, id string) (whole, found bool, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, false, nil
	}
	if err != nil {
		return false, false, err
	}
	defer file.Close()
	quoted, err := json.Marshal(id)
	if err != nil {
		return false, false, err
	}
	start := append([]byte(`{"id":`), quoted...)
	r := bufio.NewReader(file)
	for whole = true; ; {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			whole = line[len(line)-1] == '\n'
			found = found || whole && bytes.HasPrefix(line, start)
		}
		if errors.Is(err, io.EOF) {
			return whole, found, nil
		}
		if err != nil {
			return whole, found, err
		}
	}
}

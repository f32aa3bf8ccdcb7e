package sql

import (
	"errors"
	"io/fs"
	"os"
	"sync"
)

// flusher puts on the disk what many have written, all that are waiting in one go
// (group commit): a slow disk makes each of them wait for two goes at most, however
// many there are. It is safe for concurrent use.
type flusher struct {
	flush func() error
	disk  chan struct{} // holds one during a go
	mu    sync.Mutex    // guards next
	next  *flushing     // the go that has not begun, nil if nobody waits for it
}

// flushing is one go. Once it is done, err never changes.
type flushing struct {
	done chan struct{}
	err  error
}

func newFlusher(flush func() error) *flusher {
	return &flusher{flush: flush, disk: make(chan struct{}, 1)}
}

// wait returns when everything that the caller has written before is on the disk.
func (f *flusher) wait() error {
	f.mu.Lock()
	mine, first := f.next, f.next == nil
	if first {
		mine = &flushing{done: make(chan struct{})}
		f.next = mine
	}
	f.mu.Unlock()
	if !first {
		<-mine.done
		return mine.err
	}
	f.disk <- struct{}{}
	f.mu.Lock()
	f.next = nil // who comes now may have written too late for this go
	f.mu.Unlock()
	mine.err = f.flush()
	<-f.disk
	close(mine.done)
	return mine.err
}

// flushFile puts a file on the disk. That there is none is no error: SQLite removes
// its log when everything in it is in the database, and on the disk there.
func flushFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

package sql

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// openEngine opens a fresh SQLite file with a table t of numbers.
func openEngine(t *testing.T) *sqliteEngine {
	t.Helper()
	e, err := openSQLite(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatalf("openSQLite() = %v", err)
	}
	t.Cleanup(e.close)
	if err := e.inTx(t.Context(), execTx(t.Context(), `CREATE TABLE t (n INTEGER)`)); err != nil {
		t.Fatalf("CREATE TABLE = %v", err)
	}
	return e
}

func execTx(ctx context.Context, query string, args ...any) func(Tx) error {
	return func(tx Tx) error {
		_, err := tx.exec(ctx, query, args...)
		return err
	}
}

func TestSQLite_FilesAreTheOwnersOnly(t *testing.T) {
	e := openEngine(t)
	for _, path := range []string{e.path, e.path + "-wal"} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("Stat(%q) = %v, %v, want mode 0600", path, fi, err)
		}
	}
}

func TestSQLite_WritersTakeTurns(t *testing.T) {
	e := openEngine(t)
	synctest.Test(t, func(t *testing.T) {
		e.disk = newFlusher(func() error { return nil })
		if err := e.turn.Acquire(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		const writers = 50
		var wait sync.WaitGroup
		var order []int
		for i := range writers {
			wait.Go(func() {
				if err := e.inTx(t.Context(), func(Tx) error { order = append(order, i); return nil }); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // it waits
		}
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.inTx(hasty, func(Tx) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("inTx() of who waits no longer = %v, want the end of the time", err)
		}
		e.turn.Release(1)
		wait.Wait()
		if len(order) != writers || !slices.IsSorted(order) {
			t.Errorf("writers came in the order %v, want that of their coming", order)
		}
	})
}

func TestSQLite_AnswersWhenItIsOnTheDisk(t *testing.T) {
	e := openEngine(t)
	begun, ended := make(chan struct{}), make(chan error)
	e.disk = newFlusher(func() error { begun <- struct{}{}; return <-ended })
	answers := make(chan error, 2)
	insert := func() { answers <- e.inTx(t.Context(), execTx(t.Context(), `INSERT INTO t VALUES (1)`)) }
	go insert()
	<-begun // the first one has committed, and the disk takes its time
	go func() {
		// The writer is free, nevertheless.
		if err := e.commit(t.Context(), execTx(t.Context(), `INSERT INTO t VALUES (2)`)); err != nil {
			t.Error(err)
		}
		insert()
	}()
	for count := 0; count < 3; {
		found, err := one(t.Context(), e.reader(), column[int64], `SELECT COUNT(*) FROM t`)
		if err != nil {
			t.Fatal(err)
		}
		count = int(found)
	}
	select {
	case err := <-answers:
		t.Fatalf("inTx() = %v before anything was on the disk", err)
	default:
	}
	ended <- nil
	if err := <-answers; err != nil {
		t.Errorf("inTx() = %v", err)
	}
	broken := errors.New("the disk is broken")
	<-begun // for the second one anew: it came too late for the first
	ended <- broken
	if err := <-answers; !errors.Is(err, broken) {
		t.Errorf("inTx() = %v, want %v", err, broken)
	}
}

// Who tells others of what can be read waits until it is on the disk.
func TestSQLite_SettlesWhatIsSeenAlready(t *testing.T) {
	e := openEngine(t)
	begun, ended := make(chan struct{}), make(chan error)
	e.disk = newFlusher(func() error { begun <- struct{}{}; return <-ended })
	if err := e.commit(t.Context(), execTx(t.Context(), `INSERT INTO t VALUES (1)`)); err != nil {
		t.Fatal(err)
	}
	settled := make(chan error, 1)
	go func() { settled <- e.settle() }()
	<-begun
	select {
	case err := <-settled:
		t.Fatalf("settle() = %v before it was on the disk", err)
	default:
	}
	ended <- nil
	if err := <-settled; err != nil {
		t.Errorf("settle() = %v", err)
	}
}

func TestFlusher_OneGoForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var goes, done atomic.Int32
		f := newFlusher(func() error { goes.Add(1); time.Sleep(time.Second); return nil })
		var wait sync.WaitGroup
		waiter := func() {
			if err := f.wait(); err != nil {
				t.Error(err)
			}
			done.Add(1)
		}
		wait.Go(waiter)
		synctest.Wait() // the first go has begun
		for range 50 {
			wait.Go(waiter)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if done.Load() != 1 || goes.Load() != 2 {
			t.Errorf("after the first go: %d are done and go %d is under way, want 1 and 2", done.Load(), goes.Load())
		}
		wait.Wait()
		if goes.Load() != 2 || done.Load() != 51 {
			t.Errorf("%d goes for %d, want 2 for 51", goes.Load(), done.Load())
		}
	})
}

func TestFlushFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := flushFile(path); err != nil {
		t.Errorf("flushFile() of none = %v", err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := flushFile(path); err != nil {
		t.Errorf("flushFile() = %v", err)
	}
	if err := flushFile(filepath.Dir(path)); err == nil {
		t.Error("flushFile() of a folder: no error")
	}
}

package cache

import (
	"io"
	"net/http"
	"time"
)

// Write takes a part of the body.
func (f *fill) Write(p []byte) (int, error) {
	if f.mode == undecided {
		f.WriteHeader(http.StatusOK)
	}
	f.wrote += int64(len(p))
	switch f.mode {
	case swallow:
		return len(p), nil
	case passing:
		if f.flight != nil && f.flight.spilled() {
			f.flight.add(p, f.x.h.bodyLimit())
		}
		return f.w.Write(p)
	}
	if f.wrote > int64(f.x.h.bodyLimit()) {
		return f.overflow(p)
	}
	f.flight.add(p, 0)
	if f.mode == storing {
		return f.toClient(p)
	}
	return len(p), nil
}

// toClient writes to a client that may have left: the fill goes on.
func (f *fill) toClient(p []byte) (int, error) {
	if _, err := f.w.Write(p); err != nil && !f.goesOn() {
		return 0, err
	}
	return len(p), nil
}

// overflow gives up storing a body that turned out too large. The client's
// stream first catches up, then goes on by this goroutine.
func (f *fill) overflow(p []byte) (int, error) {
	fillsTooLarge.Inc()
	f.entry = nil
	f.setKeep(false)
	f.x.h.store.flights.end(f.flight)
	f.flight.spill()
	if f.mode == silent {
		f.mode = swallow
		f.cancel()
		return len(p), nil
	}
	if f.pump != nil {
		if err := f.pump.drain(); err != nil {
			return 0, err
		}
	}
	f.mode = passing
	f.flight.add(p, f.x.h.bodyLimit())
	return f.w.Write(p)
}

// ReadFrom lets large bodies that are not stored take the short way.
func (f *fill) ReadFrom(src io.Reader) (int64, error) {
	if rf, ok := f.w.(io.ReaderFrom); ok && f.mode == passing && f.flight == nil && f.part == nil {
		return rf.ReadFrom(src)
	}
	return io.Copy(writerOnly{f}, src)
}

type writerOnly struct{ io.Writer }

// FlushError sends what was written so far.
func (f *fill) FlushError() error {
	if f.mode == undecided {
		f.WriteHeader(http.StatusOK)
	}
	switch {
	case f.w == nil || f.mode == swallow:
		return nil
	case f.mode == pumping:
		f.pump.flush()
		return nil
	}
	return http.NewResponseController(f.w).Flush()
}

// Flush is for handlers that do not look for FlushError.
func (f *fill) Flush() { _ = f.FlushError() }

// whole tells whether the body that came is the body that was announced.
func (f *fill) whole() bool {
	n := contentLength(f.header)
	if s, _, ok := parseContentRange(f.header["Content-Range"]); ok && f.res.Status == http.StatusPartialContent {
		n = s.length
	}
	return n < 0 || n == f.wrote
}

func (f *fill) setKeep(keep bool) {
	f.mu.Lock()
	f.keep = keep
	f.mu.Unlock()
	if !keep && f.w != nil && f.x.r.Context().Err() != nil {
		f.cancel()
	}
}

func (f *fill) goesOn() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keep
}

// clientGone is called when the client has left: the fill goes on, for a
// bounded time, if it is of use to others.
func (f *fill) clientGone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.keep && (f.flight == nil || f.flight.following() == 0) {
		f.cancel()
		return
	}
	f.patrol = time.AfterFunc(time.Duration(f.x.h.FillTimeout), f.cancel)
}

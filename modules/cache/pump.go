package cache

import (
	"context"
	"errors"
	"net/http"
	"sync"
)

// pump copies a body that is being stored to the client, so that a slow client
// holds up neither the fill nor those who wait for it.
type pump struct {
	w    http.ResponseWriter
	ctx  context.Context
	f    *flight
	mu   sync.Mutex // held while writing to w
	done chan struct{}
	err  error // to be read once done is closed
}

func startPump(f *fill) *pump {
	p := &pump{w: f.w, ctx: f.x.r.Context(), f: f.flight, done: make(chan struct{})}
	f.flight.enter()
	go func() {
		defer close(p.done)
		defer f.flight.leave()
		p.err = copyFlight(p.ctx, p.w, p.f, &p.mu)
	}()
	return p
}

// flush sends the head, if no part of the body is doing so.
func (p *pump) flush() {
	if p.mu.TryLock() {
		_ = http.NewResponseController(p.w).Flush()
		p.mu.Unlock()
	}
}

// drain waits until the client has all that came before the spill.
func (p *pump) drain() error {
	<-p.done
	if errors.Is(p.err, errSpilled) {
		return nil
	}
	return p.err
}

// copyFlight copies the body of a flight to w until it ends. mu, if not nil, is
// held during writes.
func copyFlight(ctx context.Context, w http.ResponseWriter, fl *flight, mu *sync.Mutex) error {
	var off int64
	for {
		p, done, err := fl.next(ctx, off, mu != nil)
		if err != nil {
			return err
		}
		off += int64(len(p))
		if err := writeChunk(w, p, done, mu); err != nil || done {
			return err
		}
	}
}

func writeChunk(w http.ResponseWriter, p []byte, last bool, mu *sync.Mutex) error {
	if mu != nil {
		mu.Lock()
		defer mu.Unlock()
	}
	if len(p) > 0 {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	if last {
		return nil
	}
	return http.NewResponseController(w).Flush()
}

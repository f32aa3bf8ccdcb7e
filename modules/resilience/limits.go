package resilience

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// BulkheadConfig bounds concurrent requests.
type BulkheadConfig struct {
	// How many requests may be under way at once. Required.
	Max int `json:"max"`

	// How many more may wait. Default: none.
	Queue int `json:"queue,omitempty"`

	// How long one waits at most. Default with a queue: 100ms.
	Wait caddy.Duration `json:"wait,omitempty"`
}

func (b *BulkheadConfig) waits() time.Duration {
	return time.Duration(or(b.Wait, caddy.Duration(100*time.Millisecond)))
}

func (b *BulkheadConfig) validate() error {
	switch {
	case b == nil:
		return nil
	case b.Max < 1:
		return fmt.Errorf("bulkhead: max must be positive, got %d", b.Max)
	case b.Queue < 0:
		return fmt.Errorf("bulkhead: queue must not be negative, got %d", b.Queue)
	case b.Wait < 0:
		return fmt.Errorf("bulkhead: wait must be positive, got %s", time.Duration(b.Wait))
	case b.Wait > 0 && b.Queue == 0:
		return errors.New("bulkhead: wait means something only with a queue")
	}
	return nil
}

// AdaptiveConfig bounds the limit that follows what an upstream can take.
type AdaptiveConfig struct {
	// The limit never falls below Min and never rises above Max. Required.
	Min int `json:"min"`
	Max int `json:"max"`

	// How many requests may wait, and how long. Default: none; with a queue
	// 100ms.
	Queue int            `json:"queue,omitempty"`
	Wait  caddy.Duration `json:"wait,omitempty"`
}

// bulkhead returns the part of the config that a bulkhead has too.
func (a *AdaptiveConfig) bulkhead() *BulkheadConfig {
	return &BulkheadConfig{Max: a.Max, Queue: a.Queue, Wait: a.Wait}
}

func (a *AdaptiveConfig) validate() error {
	if a == nil {
		return nil
	}
	if a.Min < 1 || a.Max < a.Min || a.Max > maxCount {
		return fmt.Errorf("adaptive_limit: min and max must be from 1 to %d in this order, got %d and %d", maxCount, a.Min, a.Max)
	}
	if err := a.bulkhead().validate(); err != nil {
		return fmt.Errorf("adaptive_limit: %w", err)
	}
	return nil
}

// unmarshalCaddyfile reads the rest of the line:
//
//	bulkhead <max> [queue <n>] [wait <duration>]
func (b *BulkheadConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args := newWords(d, "bulkhead")
	if !args.next() {
		return d.ArgErr()
	}
	if err := parseCount(args.word(), &b.Max); err != nil {
		return d.Errf("bulkhead: %v", err)
	}
	return queueWords(args, &b.Queue, &b.Wait)
}

// queueWords reads what bounds a queue.
func queueWords(args *words, queue *int, wait *caddy.Duration) error {
	for args.next() {
		var err error
		switch args.word() {
		case "queue":
			err = args.count(queue)
		case "wait":
			err = args.duration(wait)
		default:
			err = args.unknown()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmarshalCaddyfile reads the rest of the line:
//
//	adaptive_limit <min> <max> [queue <n>] [wait <duration>]
func (a *AdaptiveConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args := newWords(d, "adaptive_limit")
	for _, to := range []*int{&a.Min, &a.Max} {
		if !args.next() {
			return d.ArgErr()
		}
		if err := parseCount(args.word(), to); err != nil {
			return d.Errf("adaptive_limit: %v", err)
		}
	}
	return queueWords(args, &a.Queue, &a.Wait)
}

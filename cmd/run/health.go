package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"
)

// awaitHealthy asks url until it answers 200. It returns early, and says so,
// when a signal comes; it fails when the service ends or time is up.
func awaitHealthy(s *service, url string, wait time.Duration, signals <-chan os.Signal) (signalled bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last := "never answered"
	for {
		select {
		case <-signals:
			return true, nil
		case <-s.done:
			return false, s.ended()
		case <-ctx.Done():
			return false, fmt.Errorf("%s is not healthy after %s: %s %s (see %s)", s.name, wait, url, last, s.logFile)
		case <-tick.C:
			status, err := ask(ctx, url)
			if status == http.StatusOK {
				return false, nil
			}
			if err == nil {
				last = fmt.Sprintf("answers %d", status)
			}
		}
	}
}

func ask(ctx context.Context, url string) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/fairway-gateway/fairway/test/process"
)

// Sample is one measurement of one contender.
type Sample struct {
	Requests  int64         `json:"requests"`
	CPU       time.Duration `json:"cpu_ns"`  // of the server's process tree
	Elapsed   time.Duration `json:"wall_ns"` // of the load
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	PeakBytes int64         `json:"peak_rss_bytes"`
}

func (s Sample) cpuPerRequest() time.Duration { return s.CPU / time.Duration(s.Requests) }

func (s Sample) perSecond() float64 { return float64(s.Requests) / s.Elapsed.Seconds() }

// measure runs all rounds of a scenario. Every second round goes through the
// contenders backwards, so that none always follows the same one. A contender
// that fails is left out of the rounds that follow; only the end of ctx ends
// the scenario.
func (l *lab) measure(ctx context.Context, s Scenario) (result, error) {
	series := make([]series, len(s.Contenders))
	for round := range l.Rounds {
		for i := range s.Contenders {
			if round%2 == 1 {
				i = len(s.Contenders) - 1 - i
			}
			c := s.Contenders[i]
			if series[i].err != nil {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s %d/%d: %s\n", s.Name, round+1, l.Rounds, c.Name)
			sample, err := l.sample(ctx, c)
			if ctx.Err() != nil {
				return result{}, ctx.Err()
			}
			if err != nil {
				series[i].err = fmt.Errorf("%s: %s: %w", s.Name, c.Name, err)
				continue
			}
			series[i].samples = append(series[i].samples, sample)
		}
	}
	return summarize(s, series), nil
}

// series is what one contender's rounds gave: samples, or why it failed.
type series struct {
	samples []Sample
	err     error
}

// sample starts a contender, warms it up, measures it and ends it.
func (l *lab) sample(ctx context.Context, c Contender) (Sample, error) {
	if c.Redis {
		if err := l.emptyRedis(); err != nil {
			return Sample{}, err
		}
	}
	p, addr, err := l.serve(ctx, c)
	if err != nil {
		return Sample{}, err
	}
	defer p.Kill()
	url := "http://" + addr
	if err := l.warmUp(ctx, c, url); err != nil {
		return Sample{}, fmt.Errorf("warming up: %w", err)
	}
	if err := l.meetUsers(ctx, c.Request, url); err != nil {
		return Sample{}, fmt.Errorf("warming up: %w", err)
	}
	if err := l.probe(ctx, c, url); err != nil {
		return Sample{}, fmt.Errorf("before the measurement: %w\n%s", err, p.LogTail(20))
	}
	s, err := l.sampleWarm(ctx, c, p, url)
	if err != nil {
		return Sample{}, fmt.Errorf("%w\n%s", err, p.LogTail(20))
	}
	if err := l.probe(ctx, c, url); err != nil {
		return Sample{}, fmt.Errorf("after the measurement: %w\n%s", err, p.LogTail(20))
	}
	return s, nil
}

// warmUp sends requests for a while, and again as long as none was answered: a
// short while is over before the first large body is.
func (l *lab) warmUp(ctx context.Context, c Contender, url string) error {
	if l.Warmup == 0 {
		return nil
	}
	for limit := time.Now().Add(startLimit); ; {
		_, err := l.load(ctx, c, url, l.Warmup, 0)
		if !errors.Is(err, errUnanswered) || time.Now().After(limit) {
			return err
		}
	}
}

func (l *lab) sampleWarm(ctx context.Context, c Contender, p *process.Process, url string) (Sample, error) {
	before, err := p.CPU()
	if err != nil {
		return Sample{}, err
	}
	s, err := l.load(ctx, c, url, l.Duration, 1)
	if err != nil {
		return Sample{}, err
	}
	after, err := p.CPU()
	if err != nil {
		return Sample{}, err
	}
	s.CPU = after - before
	s.PeakBytes, err = p.PeakRSS()
	return s, err
}

// probe checks one answer thoroughly. Two requests are sent where a header is
// wanted that only a repeated request has.
func (l *lab) probe(ctx context.Context, c Contender, url string) error {
	resp, body, err := l.request(ctx, c, url)
	if err != nil {
		return err
	}
	name, part := c.Want.Header[0], c.Want.Header[1]
	switch {
	case resp.StatusCode != c.Want.status():
		return fmt.Errorf("answered %d, want %d: %.300s", resp.StatusCode, c.Want.status(), body)
	case c.Want.status() == http.StatusOK && string(body) != string(bodyOf(c.Request.path())):
		return fmt.Errorf("answered another body than the origin's: %.300q", body)
	case name != "" && !strings.Contains(resp.Header.Get(name), part):
		return fmt.Errorf("answered %s: %q, want %q in it", name, resp.Header.Get(name), part)
	}
	return nil
}

func (l *lab) request(ctx context.Context, c Contender, url string) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	path := c.Request.path()
	if c.Request.UniquePath {
		path += fmt.Sprintf("/probe-%d", time.Now().UnixNano())
	}
	req, err := http.NewRequestWithContext(ctx, c.Request.method(), url+path, strings.NewReader(c.Request.Body))
	if err != nil {
		return nil, nil, err
	}
	for name, value := range l.headers(c.Request) {
		req.Header.Set(name, value)
	}
	if c.Request.Keys > 0 {
		req.Header.Set(keyHeader, "probe")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// emptyRedis makes every measurement start from the same state.
func (l *lab) emptyRedis() error {
	conn, err := net.DialTimeout("tcp", l.redisAddr, startLimit)
	if err != nil {
		return fmt.Errorf("emptying redis: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(startLimit)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "FLUSHALL\r\n"); err != nil {
		return fmt.Errorf("emptying redis: %w", err)
	}
	reply := make([]byte, 64)
	n, err := conn.Read(reply)
	if err != nil || !strings.HasPrefix(string(reply[:n]), "+OK") {
		return fmt.Errorf("emptying redis: answer %q, %w", reply[:n], err)
	}
	return nil
}

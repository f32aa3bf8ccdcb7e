package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// lossy is the way to a real Redis: it delays, and loses requests and replies.
type lossy struct {
	backend
	mu     sync.Mutex
	random *rand.Rand
	most   time.Duration // of a delay
	lost   *atomic.Int64
}

var errLost = errors.New("lost on the way")

func (l *lossy) draw() (before, after time.Duration, loseRequest, loseReply bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delay := func() time.Duration {
		if l.random.IntN(5) > 0 {
			return 0
		}
		return time.Duration(l.random.Int64N(int64(l.most)))
	}
	return delay(), delay(), l.random.IntN(20) == 0, l.random.IntN(20) == 0
}

func (l *lossy) charge(ctx context.Context, c *call) (*reply, error) {
	before, after, loseRequest, loseReply := l.draw()
	time.Sleep(before)
	if loseRequest {
		l.lost.Add(1)
		return nil, errLost
	}
	r, err := l.backend.charge(ctx, c)
	time.Sleep(after)
	if loseReply {
		l.lost.Add(1)
		return nil, errLost
	}
	return r, err
}

// schedule is a random run of several nodes on a real Redis: bursts of all costs
// and keys, clocks that drift, slow and lost calls, refunds, crashes. What it
// does is drawn from its seed; how it interleaves is up to the machine.
type schedule struct {
	t    *testing.T
	url  string
	seed uint64
	set  *policySet

	nodes []atomic.Pointer[drifting]
	ids   atomic.Int64
	lost  atomic.Int64
	asked atomic.Int64

	mu         sync.Mutex
	admissions map[string][]admission
}

// decidedAt is decided, and when that was: what the clock said that was asked
// last, before whoever asks the limiter shows it another time.
func (l *limiter) decidedAt(a *ask, show func(instant) instant) (d decision, at int64) {
	mine := *l
	mine.clock = func() instant {
		now := timeNow()
		at = now.mono
		return show(now)
	}
	d = mine.decided(a)
	return d, at
}

func newSchedule(t *testing.T, url string) *schedule {
	s := &schedule{
		t: t, url: url, seed: rand.Uint64(), nodes: make([]atomic.Pointer[drifting], fleetNodes),
		admissions: make(map[string][]admission), set: testSet(t, 5, false, "25/1s", "90/6s"),
	}
	t.Logf("seed %d", s.seed)
	for i := range s.nodes {
		s.boot(i, rand.New(rand.NewPCG(s.seed, uint64(i))))
	}
	return s
}

// drifting is a node whose clock is faster or slower than that of Redis.
type drifting struct {
	*limiter
	drift func(instant) instant
}

// boot starts a node anew, with nothing remembered, as after a crash.
func (s *schedule) boot(i int, random *rand.Rand) {
	h := newNodeWith(s.t, fmt.Sprintf(`{"redis":{"url":%q,"timeout":"%dms"}}`, s.url, 300+i)).
		mustLoad("rate_limit {\nzone " + zoneName() + " {\nrate 1/1s\n}\n}")
	ppm, start := random.Int64N(1001)-500, timeNow()
	drift := func(now instant) instant {
		now.mono += (now.mono - start.mono) * ppm / 1_000_000
		return now
	}
	l := &limiter{
		state: newState(5, false), outage: outageDeny, timeout: 400 * time.Millisecond, fleet: new(fleet), mono: monoNow,
		backend: &lossy{
			backend: newRedisBackend(h.redis, "schedule", fmt.Sprint("node", s.ids.Add(1))),
			random:  rand.New(rand.NewPCG(s.seed, random.Uint64())), most: 300 * time.Millisecond, lost: &s.lost,
		},
		lease: []leasing{{mode: leaseAuto}, {mode: leaseOff}, {mode: leaseFixed, size: 7}}[random.IntN(3)],
		clock: func() instant { return drift(timeNow()) },
	}
	l.fleet.nodes.Store(fleetNodes)
	s.nodes[i].Store(&drifting{l, drift})
}

// run sends for as long and reports what was admitted.
func (s *schedule) run(length time.Duration, disturb func()) {
	ctx, stop := context.WithTimeout(s.t.Context(), length)
	defer stop()
	var wg sync.WaitGroup
	for i := range s.nodes {
		for client := range 3 {
			wg.Go(func() { s.client(ctx, i, rand.New(rand.NewPCG(s.seed, uint64(100*i+client+100)))) })
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(settleEvery)
				s.nodes[i].Load().settle(ctx, settleBatch)
			}
		})
	}
	wg.Go(func() { // one of them crashes now and then
		random := rand.New(rand.NewPCG(s.seed, 99))
		for ctx.Err() == nil {
			time.Sleep(time.Duration(random.Int64N(int64(1500 * time.Millisecond))))
			s.boot(random.IntN(len(s.nodes)), random)
		}
	})
	if disturb != nil {
		time.Sleep(length / 3)
		disturb()
	}
	wg.Wait()
}

func (s *schedule) client(ctx context.Context, node int, random *rand.Rand) {
	for ctx.Err() == nil {
		key := fmt.Sprint("key", random.IntN(3))
		a := testAsk(s.set, key, []uint32{1, 1, 1, 2, 5}[random.IntN(5)])
		l := s.nodes[node].Load()
		d, at := l.decidedAt(a, l.drift)
		s.asked.Add(1)
		if d.ok {
			cost := a.cost
			if random.IntN(8) == 0 { // its response was not one to count
				l.refund(a, &d)
				cost = 0
			}
			s.mu.Lock()
			s.admissions[key] = append(s.admissions[key], admission{at, cost})
			s.mu.Unlock()
		}
		if random.IntN(4) == 0 {
			time.Sleep(time.Duration(random.Int64N(int64(60 * time.Millisecond))))
		}
	}
}

// check is the oracle.
func (s *schedule) check() {
	s.t.Helper()
	total := 0
	for key, all := range s.admissions {
		slices.SortFunc(all, byTime)
		total += len(all)
		for i := range s.set.policies {
			p := &s.set.policies[i]
			worst := mostInAnyWindow(all, p.window)
			if worst > int(p.limit) {
				s.t.Errorf("seed %d: %s: %d admitted in some %s of %s", s.seed, key, worst, time.Duration(p.rate.Window), p.rate)
			}
			s.t.Logf("%s: %d admissions, at most %d in any %s of %s", key, len(all), worst, time.Duration(p.rate.Window), p.rate)
		}
	}
	s.t.Logf("%d requests, %d admitted, %d calls lost, %d nodes lived", s.asked.Load(), total, s.lost.Load(), s.ids.Load())
	if total < 50 || s.lost.Load() == 0 || s.ids.Load() <= fleetNodes {
		s.t.Error("so little happened that the test shows nothing")
	}
}

const scheduleLength = 8 * time.Second

func TestSchedule_Redis(t *testing.T) {
	server := redistest.Start(t)
	s := newSchedule(t, server.URL())
	s.run(scheduleLength, func() {
		server.Pause()
		time.Sleep(700 * time.Millisecond)
		server.Resume()
	})
	s.check()
}

func TestSchedule_ClusterFailover(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	s := newSchedule(t, cluster.URL())
	s.run(scheduleLength+4*time.Second, func() {
		key := newRedisBackend(nil, "schedule", "").base(sharedName("key0"))
		cluster.Failover(cluster.MasterOf(key))
	})
	s.check()
}

func TestSchedule_SentinelFailover(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	s := newSchedule(t, sentinel.URL())
	s.run(scheduleLength+6*time.Second, func() { sentinel.Master.Kill() })
	s.check()
}

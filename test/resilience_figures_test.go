package test

import (
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"
)

// figureSite proxies to real processes. The words in capitals are replaced.
const figureSite = `
{
	admin {$FAIRWAY_ADMIN}
	log {
		exclude http.log.error
	}
}
{$FAIRWAY_LISTEN} {
	route {
		CACHE
		resilience {
			timeout 5s
			bulkhead 4000 queue 50 wait 100ms
			FALLBACK
		}
		reverse_proxy UPSTREAMS {
			lb_policy resilient {
				policy round_robin
			}
			transport resilient {
				OPTIONS
				http {
					dial_timeout 500ms
					keepalive_idle_conns_per_host 512
				}
			}
		}
	}
}
`

// figureGateway starts a gateway in front of the upstreams.
func figureGateway(t testing.TB, us []*upstream, options string, replace ...string) *gateway {
	t.Helper()
	pairs := append(replace, "UPSTREAMS", addresses(us), "OPTIONS", options, "CACHE", "", "FALLBACK", "")
	return startGateway(t, strings.NewReplacer(pairs...).Replace(figureSite))
}

// length is how long a part of a figure takes: long, or short in a trial run.
func length(full time.Duration) time.Duration {
	if testing.Short() {
		return min(full, 800*time.Millisecond)
	}
	return full
}

// rate is how many requests are sent per second.
func rate(full int) int {
	if testing.Short() {
		return full / 10
	}
	return full
}

// figureTry is how long a try may take. A trial run is on a machine that does
// other things, too, and may stand still for a second.
func figureTry() time.Duration {
	if testing.Short() {
		return 3 * time.Second
	}
	return time.Second
}

func figureOptions() string {
	return fmt.Sprintf("try_timeout %s\nbreaker 5 failures open 20s\nretry 2", figureTry())
}

// awaitClosed makes sure that a figure begins with upstreams that are well: a
// machine that stands still for a moment makes them look otherwise.
func awaitClosed(b *testing.B, g *gateway, us []*upstream) {
	b.Helper()
	for _, u := range us {
		eventually(b, "the breaker of an upstream that is well is closed", func() error {
			if s := breakerState(b, g, u.addr); s != "closed" {
				return fmt.Errorf("it is %s: this machine cannot bear the load", s)
			}
			return nil
		})
	}
}

// threeUnderLoad is three upstreams that are well, behind a gateway under load.
func threeUnderLoad(b *testing.B) ([]*upstream, *gateway, *steadyLoad) {
	b.Helper()
	us := startUpstreams(b, 3, behaviour{})
	g := figureGateway(b, us, figureOptions())
	l := startLoad(b, g.url, rate(2000))
	time.Sleep(length(4 * time.Second))
	awaitClosed(b, g, us)
	return us, g, l
}

// One of three upstreams is killed under load: no client may notice.
func BenchmarkFigure_KilledUpstream(b *testing.B) {
	us, g, l := threeUnderLoad(b)
	killed := time.Now()
	us[1].Kill()
	time.Sleep(length(4 * time.Second))
	seen := l.end()
	after := seen.since(killed.Add(-figureTry())) // what was under way counts
	bad := after.bad(200)
	b.Logf("one of three upstreams killed at %.0f requests/s: %d client-visible errors in %d requests around and after it (target 0); %d in the %d before; p99 %s before, %s after; its breaker: %s",
		seen.perSecond(), len(bad), len(after), len(seen.bad(200))-len(bad), len(seen)-len(after), seen.quantile(0.99), seen.since(killed).quantile(0.99), breakerState(b, g, us[1].addr))
	bad.report(b, "after one of three was killed")
	b.ReportMetric(float64(len(bad)), "errors")
	b.ReportMetric(seen.perSecond(), "requests/s")
}

// One of three upstreams hangs: it accepts what is sent and says nothing.
func BenchmarkFigure_HungUpstream(b *testing.B) {
	us, g, l := threeUnderLoad(b)
	hung := time.Now()
	if err := us[1].Signal(syscall.SIGSTOP); err != nil {
		b.Fatal(err)
	}
	var opened time.Time
	eventually(b, "its breaker opens", func() error {
		if s := breakerState(b, g, us[1].addr); s != "open" {
			return fmt.Errorf("it is %s", s)
		}
		opened = time.Now()
		return nil
	})
	time.Sleep(length(4 * time.Second))
	seen := l.end()
	after := seen.since(hung.Add(-figureTry())) // what was under way counts
	bad, slow := after.bad(200), after.slower(figureTry())
	late := slow.since(opened)
	b.Logf("one of three upstreams hung at %.0f requests/s: %d client-visible errors in %d requests around and after it (target 0)", seen.perSecond(), len(bad), len(after))
	b.Logf("its breaker opened after %s; %d requests took longer than the try's timeout of %s, %d of them sent after that (target 0); the slowest %s (target: %s and one retry)",
		opened.Sub(hung).Round(time.Millisecond), len(slow), figureTry(), len(late), slow.quantile(1).Round(time.Millisecond), figureTry())
	bad.report(b, "while one of three hung")
	b.ReportMetric(float64(len(bad)), "errors")
	b.ReportMetric(float64(len(late)), "late-slow")
	b.ReportMetric(slow.quantile(1).Seconds()*1000, "slowest-ms")
}

// The only upstream fails altogether: it is left alone, and clients are
// answered for little.
func BenchmarkFigure_FailingUpstream(b *testing.B) {
	const open = 2 * time.Second
	for name, answer := range map[string]struct {
		replace []string
		status  int
	}{
		"503":   {[]string{"FALLBACK", "fallback respond 503 sorry"}, 503},
		"stale": {[]string{"FALLBACK", "fallback stale", "CACHE", "cache {\nmax_size 64MiB\nstale_if_error 10m\n}"}, 200},
	} {
		b.Run("answer="+name, func(b *testing.B) {
			us := startUpstreams(b, 1, behaviour{MaxAge: 1})
			g := figureGateway(b, us, fmt.Sprintf("breaker 5 failures open %s probes 1\nretry 2", open), answer.replace...)
			get(g.url).send(b).want(b, 200)
			time.Sleep(1100 * time.Millisecond) // what the cache has is expired then
			before := us[0].asked()
			us[0].behave(behaviour{Bad: 1, Status: 503})
			us[0].t = b
			failing := time.Now()
			l := startLoad(b, g.url+"/unseen", rate(200)) // opens the breaker
			eventually(b, "the breaker opens", func() error {
				if s := breakerState(b, g, us[0].addr); s != "open" {
					return fmt.Errorf("it is %s", s)
				}
				return nil
			})
			l.end()
			cpu := cpuOf(b, g)
			l = startFullLoad(b, g.url, 32)
			time.Sleep(length(7 * time.Second))
			seen := l.end()
			each := (cpuOf(b, g) - cpu) / time.Duration(max(1, len(seen)))
			asked := us[0].asked() - before
			periods := math.Ceil(time.Since(failing).Seconds() / open.Seconds())
			b.Logf("upstream 100 %% failing, %d requests at %.0f/s answered %s: it was asked %d times; target: 5 failures with at most 2 retries each and one probe in each of %.0f open periods, %.0f",
				len(seen), seen.perSecond(), name, asked, periods, 15+periods)
			b.Logf("CPU per answer: %s (target: at most 100µs)", each)
			seen.bad(answer.status).report(b, "an upstream that fails altogether")
			if float64(asked) > 15+periods {
				b.Errorf("a failing upstream was asked %d times, want at most %.0f", asked, 15+periods)
			}
			b.ReportMetric(float64(asked), "asked")
			b.ReportMetric(float64(each)/float64(time.Microsecond), "cpu-µs/answer")
		})
	}
}

func cpuOf(b *testing.B, g *gateway) time.Duration {
	b.Helper()
	cpu, err := g.CPU()
	if err != nil {
		b.Fatal(err)
	}
	return cpu
}

// All upstreams fail for half of the requests: retries must not make it worse.
func BenchmarkFigure_BrownOut(b *testing.B) {
	for name, breaker := range map[string]string{"off": "breaker off", "on": "breaker error_rate 80% min 20 open 5s"} {
		b.Run("breaker="+name, func(b *testing.B) {
			us := startUpstreams(b, 3, behaviour{Bad: 0.5, Status: 503, Took: 5 * time.Millisecond})
			g := figureGateway(b, us, breaker+"\ntry_timeout 2s\nretry 3 budget 20%\nhedge p95")
			l := startLoad(b, g.url, rate(1500))
			time.Sleep(length(8 * time.Second))
			seen := l.end()
			time.Sleep(50 * time.Millisecond) // cancelled tries reach the upstreams, too
			asked := askedOf(us)
			times := float64(asked) / float64(len(seen))
			b.Logf("brown-out, half of the answers 503, breaker %s: %d requests became %d, %.3fx (target: at most 1.2x and the floor of 3/s); %.0f %% of the clients saw a 503, 50 %% without retries",
				name, len(seen), asked, times, 100*float64(len(seen.bad(200)))/float64(len(seen)))
			seen.bad(200, 503).report(b, "a brown-out")
			b.ReportMetric(times, "amplification")
		})
	}
}

// Two of a hundred answers are slow; a hedge goes to another upstream.
func BenchmarkFigure_Hedging(b *testing.B) {
	measure := func(hedge string) (p50, p99 time.Duration, extra float64) {
		us := startUpstreams(b, 3, behaviour{Took: 2 * time.Millisecond, Slow: 0.02, Delay: 200 * time.Millisecond})
		g := figureGateway(b, us, "try_timeout 1s\n"+hedge)
		warm := startLoad(b, g.url, rate(500)) // a quantile needs 50 calls
		time.Sleep(length(2 * time.Second))
		warm.end()
		before := askedOf(us)
		l := startLoad(b, g.url, rate(500))
		time.Sleep(length(10 * time.Second))
		seen := l.end()
		time.Sleep(50 * time.Millisecond)
		seen.bad(200).report(b, "with "+hedge)
		return seen.quantile(0.5), seen.quantile(0.99), float64(askedOf(us)-before)/float64(len(seen)) - 1
	}
	p50, p99, _ := measure("")
	b.Logf("2 %% of the answers 200ms late, without hedging: p50 %s, p99 %s", p50, p99)
	h50, h99, extra := measure("hedge p95")
	b.Logf("with hedge p95: p50 %s, p99 %s, %.2f of that (target: at most 0.25); %.1f %% extra requests (target: at most 6 %%)",
		h50, h99, float64(h99)/float64(p99), 100*extra)
	b.ReportMetric(float64(h99)/float64(p99), "p99-ratio")
	b.ReportMetric(100*extra, "extra-%")
}

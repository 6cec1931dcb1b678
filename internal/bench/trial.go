package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/meridian-relay/meridian/internal/bench/load"
	"github.com/meridian-relay/meridian/internal/bench/meter"
)

// A trial is a run of sessions against one server.
type trial struct {
	server   role
	sessions int
	rate     float64       // messages a second to each session; 0: flooding
	size     int           // of a payload, bytes
	channels int           // of each session
	busy     int           // of these; 0: all
	own      bool          // streams of their own
	idle     bool          // no messages at all
	stopped  int           // further sessions, which stop reading
	warm     time.Duration // before a run of 5 s or more is measured; 0: a tenth of it
}

func (t trial) about() string {
	how := fmt.Sprintf("%g messages a second each", t.rate)
	if t.rate == 0 {
		how = "as fast as they take"
	}
	s := fmt.Sprintf("%d sessions, %s, %d B", t.sessions, how, t.size)
	if t.channels > 1 {
		s += fmt.Sprintf(", %d channels of which %d busy", t.channels, t.busy)
	}
	return s
}

// lead is how far, in bytes of payload, a flooding publisher may be ahead of the slowest
// session: within what a ring holds.
const lead = 256 << 10

// run starts the processes, opens the sessions, lets the messages flow and measures.
func (t trial) run(ctx context.Context, b *bench) (s sample, err error) {
	t.sessions = b.scaled(t.sessions)
	t.stopped = b.scaled(t.stopped)
	st, err := b.stage(ctx, t.server, keepMuch)
	if err != nil {
		return nil, err
	}
	defer st.end(&err)

	before, err := st.server.usage(true)
	if err != nil {
		return nil, err
	}
	clients, err := st.clients(st.addr, t.sessions)
	if err != nil {
		return nil, err
	}
	if err := st.subscribe(clients, names(t.channels), t.own); err != nil {
		return nil, err
	}
	if t.stopped > 0 {
		others, err := st.clients(st.addr, t.stopped)
		if err != nil {
			return nil, err
		}
		if err := st.subscribe(others, names(t.channels), t.own); err != nil {
			return nil, err
		}
		if err := others.do(request{Do: "pause", On: true}); err != nil {
			return nil, err
		}
	}
	if err := st.touch(clients); err != nil {
		return nil, err
	}
	if !t.idle {
		if err := st.publish(clients, t.source()); err != nil {
			return nil, err
		}
	}
	return t.measure(ctx, b, st, clients, before)
}

func (t trial) source() load.Source {
	busy := t.busy
	if busy == 0 {
		busy = t.channels
	}
	src := load.Source{Channels: names(busy), Size: t.size, Rate: t.rate}
	if t.rate == 0 {
		src.Ahead = max(lead/t.size, 16)
	}
	return src
}

// measure takes the figures of a window of b.cfg.For, after it has warmed up.
func (t trial) measure(ctx context.Context, b *bench, st *stage, clients *process, before meter.Usage) (sample, error) {
	warm := max(b.cfg.For/10, 300*time.Millisecond)
	if b.cfg.For >= 5*time.Second {
		warm = max(warm, t.warm)
	}
	if err := pause(ctx, warm); err != nil {
		return nil, err
	}
	if err := clients.do(request{Do: "reset"}); err != nil {
		return nil, err
	}
	stop, err := st.profile(b)
	if err != nil {
		return nil, err
	}
	from, err := st.server.usage(false)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := pause(ctx, t.window(b.cfg.For)); err != nil {
		return nil, err
	}
	count, err := clients.count()
	if err != nil {
		return nil, err
	}
	to, err := st.server.usage(false)
	if err != nil {
		return nil, err
	}
	took := time.Since(begin)
	if err := stop(); err != nil {
		return nil, err
	}
	if err := st.quiet(clients); err != nil {
		return nil, err
	}
	rest, err := st.server.usage(true)
	if err != nil {
		return nil, err
	}
	s := sample{
		rss: float64(to.RSS) / 1e6, heap: float64(rest.Heap) / 1e6,
		stacks: float64(rest.Stacks) / 1e6, goroutines: float64(to.Goroutines),
	}
	n := float64(t.sessions)
	if t.idle {
		s[idleCPU] = ms(to.CPU-from.CPU) / took.Seconds() / n * 1000
		s[rssPerSession] = float64(to.RSS-before.RSS) / n / 1e3
		s[heapPerSession] = float64(rest.Heap-before.Heap) / n / 1e3
		s[stackPer] = float64(rest.Stacks-before.Stacks) / n / 1e3
		s[goroutinesPer] = float64(to.Goroutines-before.Goroutines) / n
		return s, nil
	}
	if count.Messages == 0 {
		return nil, fmt.Errorf("%s: no message arrived within %v", t.server, b.cfg.For)
	}
	got := float64(count.Messages)
	s[messages] = got
	s[messageRate] = got / took.Seconds()
	s[cpuPerMessage] = float64(to.CPU-from.CPU) / 1e3 / got
	s[perMessage] = float64(to.Packets-from.Packets) / got
	s[sendsPer] = float64(to.Sends-from.Sends) / got
	if t.rate > 0 {
		c := count.Class[0]
		s[p50], s[p99], s[slowest] = ms(c.P50), ms(c.P99), ms(c.Max)
	}
	return s, nil
}

// window is how long to measure. At rest there is a keepalive every 15 s: a window of whole
// periods holds as many for every session.
func (t trial) window(d time.Duration) time.Duration {
	const period = 15 * time.Second
	if t.idle && d > period {
		return (d + period - 1).Truncate(period)
	}
	return d
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// names returns n channels.
func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("bench:%d", i)
	}
	return list
}

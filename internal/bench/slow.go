package bench

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/meridian-relay/meridian/internal/bench/load"
	"github.com/meridian-relay/meridian/internal/wan"
)

// slow returns the runs of readers that are slow: at a round trip of rtt, or, where that is 0,
// stopped by SIGSTOP. Their memory is what the server holds beyond the time before.
func slow(rtt time.Duration) (subject, base func(context.Context, *bench) (sample, error)) {
	run := func(server role) func(context.Context, *bench) (sample, error) {
		return func(ctx context.Context, b *bench) (sample, error) { return slowRun(ctx, b, server, rtt) }
	}
	return run(roleMeridian), run(roleBaseline)
}

func slowRun(ctx context.Context, b *bench, server role, rtt time.Duration) (s sample, err error) {
	st, err := b.stage(ctx, server)
	if err != nil {
		return nil, err
	}
	defer st.end(&err)
	to, err := netip.ParseAddrPort(st.addr)
	if err != nil {
		return nil, err
	}
	way, err := wan.Open(wan.Config{Server: to, QueueBytes: 256 << 20})
	if err != nil {
		return nil, err
	}
	wctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- way.Run(wctx) }()
	defer func() { cancel(); err = errors.Join(err, <-done) }()

	n := b.scaled(50)
	quick, err := st.clients(st.addr, 2)
	if err != nil {
		return nil, err
	}
	slow, err := st.clients(way.Addr().String(), n)
	if err != nil {
		return nil, err
	}
	for _, p := range []*process{quick, slow} {
		if err := st.subscribe(p, names(1), false); err != nil {
			return nil, err
		}
	}
	length := min(b.cfg.For, 10*time.Second) // a client that says nothing for 40 s is gone
	flow := func(on bool) error {
		if !on {
			return errors.Join(st.quiet(quick), pause(ctx, settle))
		}
		return st.publish(quick, load.Source{Channels: names(1), Size: 1024, Rate: 1000})
	}
	// First all read as fast as they can, until rings and retention are full.
	if err := errors.Join(flow(true), pause(ctx, max(length/3, settle))); err != nil {
		return nil, err
	}
	var before, after memory
	if rtt > 0 {
		// What is under way is what a far reader costs: it is there only while messages flow.
		if before, err = st.memory(looks); err != nil {
			return nil, err
		}
		way.SetRoundTrip(rtt)
		if err := pause(ctx, length/2); err != nil {
			return nil, err
		}
		if after, err = st.memory(looks); err != nil {
			return nil, err
		}
	} else {
		if err := flow(false); err != nil {
			return nil, err
		}
		if before, err = st.memory(1); err != nil {
			return nil, err
		}
		err := errors.Join(slow.freeze(true), flow(true), pause(ctx, length), flow(false))
		if err != nil {
			return nil, err
		}
		if after, err = st.memory(1); err != nil {
			return nil, err
		}
		if err := slow.freeze(false); err != nil {
			return nil, err
		}
	}
	per := float64(n) * 1e3
	return sample{
		readerHeap: (after.live - before.live) / per,
		readerRSS:  (after.rss - before.rss) / per,
	}, nil
}

// settle is how long a server is left alone before its memory is taken; looks is how often
// where it changes all the time.
const (
	settle = 300 * time.Millisecond
	looks  = 5
)

// memory is what a process holds, in bytes.
type memory struct{ live, rss float64 }

// memory returns the mean of several looks at the server.
func (st *stage) memory(times int) (memory, error) {
	var m memory
	for range times {
		u, err := st.server.usage(true)
		if err == nil && times > 1 {
			err = pause(st.ctx, settle)
		}
		if err != nil {
			return m, err
		}
		m.live += float64(u.Heap+u.Stacks) / float64(times)
		m.rss += float64(u.RSS) / float64(times)
	}
	return m, nil
}

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
	if err := st.publish(quick, load.Source{Channels: names(1), Size: 1024, Rate: 1000}); err != nil {
		return nil, err
	}
	length := min(b.cfg.For, 10*time.Second) // a client that says nothing for 40 s is gone
	if err := pause(ctx, max(length/4, 300*time.Millisecond)); err != nil {
		return nil, err
	}
	before, err := st.server.usage(true)
	if err != nil {
		return nil, err
	}
	if rtt > 0 {
		way.SetRoundTrip(rtt)
	} else if err := slow.freeze(true); err != nil {
		return nil, err
	}
	if err := pause(ctx, length); err != nil {
		return nil, err
	}
	after, err := st.server.usage(true)
	if err != nil {
		return nil, err
	}
	if rtt == 0 {
		if err := slow.freeze(false); err != nil {
			return nil, err
		}
	}
	per := float64(n) * 1e3
	return sample{
		readerHeap: float64(after.Heap+after.Stacks-before.Heap-before.Stacks) / per,
		readerRSS:  float64(after.RSS-before.RSS) / per,
	}, nil
}

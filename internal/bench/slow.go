package bench

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/meridian-relay/meridian/internal/bench/load"
	"github.com/meridian-relay/meridian/internal/wan"
)

// A slowness is what makes a reader slow.
type slowness uint8

const (
	unread slowness = iota // it reads its streams no more, but its QUIC stack answers
	frozen                 // its process is stopped by SIGSTOP, and answers nothing
	far                    // it is at a round trip of 150 ms
)

// slowRow measures the memory that a slow reader costs: what the server holds beyond the time
// before. What an unread one costs is what was not yet sent, since all else was answered for.
func slowRow(name string, why slowness, about string, bounds ...bound) row {
	run := func(server role) func(context.Context, *bench) (sample, error) {
		return func(ctx context.Context, b *bench) (sample, error) { return slowRun(ctx, b, server, why) }
	}
	return row{
		name: name, group: "idle", about: about, baseName: "baseline", bounds: bounds,
		subject: run(roleMeridian), base: run(roleBaseline),
	}
}

func slowRun(ctx context.Context, b *bench, server role, why slowness) (s sample, err error) {
	st, err := b.stage(ctx, server, keepLittle)
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

	n := b.scaled(20)
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
		return st.publish(quick, load.Source{Channels: names(1), Size: 1024, Rate: 500})
	}
	// First all read as fast as they can, until rings and retention are full.
	if err := errors.Join(flow(true), pause(ctx, max(length/3, settle))); err != nil {
		return nil, err
	}
	// A quiet server is compared with one whose readers are slow: what was under way to quick
	// readers would vary more than what is measured.
	if err := flow(false); err != nil {
		return nil, err
	}
	before, err := st.memory(1)
	if err != nil {
		return nil, err
	}
	switch why {
	case unread:
		err = slow.do(request{Do: "pause", On: true})
	case frozen:
		err = slow.freeze(true)
	case far:
		way.SetRoundTrip(150 * time.Millisecond)
	}
	if err := errors.Join(err, flow(true), pause(ctx, length)); err != nil {
		return nil, err
	}
	times := looks
	if why != far { // what is under way to a far reader is there only while messages flow
		times = 1
		if err := flow(false); err != nil {
			return nil, err
		}
	}
	after, err := st.memory(times)
	if err != nil {
		return nil, err
	}
	if err := slow.freeze(false); err != nil {
		return nil, err
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

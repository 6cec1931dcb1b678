package bench

import (
	"context"

	"github.com/meridian-relay/meridian/internal/bench/load"
)

// neighbour measures one channel's latency, beside another of 10 MB/s in the same session.
func neighbour(busy bool) func(context.Context, *bench) (sample, error) {
	return func(ctx context.Context, b *bench) (s sample, err error) {
		st, err := b.stage(ctx, roleMeridian, keepMuch)
		if err != nil {
			return nil, err
		}
		defer st.end(&err)
		clients, err := st.clients(st.addr, 1)
		if err != nil {
			return nil, err
		}
		if err := st.subscribe(clients, []string{"bench:quiet", "bench:loud"}, true); err != nil {
			return nil, err
		}
		err = st.publish(clients, load.Source{Channels: []string{"bench:quiet"}, Size: 128, Rate: 1000})
		if err != nil {
			return nil, err
		}
		if busy {
			err = st.publish(clients, load.Source{Channels: []string{"bench:loud"}, Size: 10_000, Rate: 1000, Class: 1})
			if err != nil {
				return nil, err
			}
		}
		if err := pause(ctx, b.cfg.For/10); err != nil {
			return nil, err
		}
		if err := clients.do(request{Do: "reset"}); err != nil {
			return nil, err
		}
		if err := pause(ctx, b.cfg.For); err != nil {
			return nil, err
		}
		count, err := clients.count()
		if err != nil {
			return nil, err
		}
		c := count.Class[0]
		return sample{
			messages: float64(c.Count), p50: ms(c.P50), p99: ms(c.P99), slowest: ms(c.Max),
			messageRate: float64(count.Messages) / b.cfg.For.Seconds(),
		}, st.quiet(clients)
	}
}

// further measures what a subscription costs that a session has beyond its first.
func further(name string, own bool, most float64) row {
	const sessions, more = 200, 100
	return row{
		name: name, group: "idle", flow: true,
		about:  "each of 100 further subscriptions in 200 sessions",
		bounds: []bound{{of: subBytes, most: most}},
		subject: func(ctx context.Context, b *bench) (s sample, err error) {
			st, err := b.stage(ctx, roleMeridian, keepMuch)
			if err != nil {
				return nil, err
			}
			defer st.end(&err)
			n := b.scaled(sessions)
			clients, err := st.clients(st.addr, n)
			if err != nil {
				return nil, err
			}
			channels := names(1 + more)
			if err := st.subscribe(clients, channels[:1], own); err != nil {
				return nil, err
			}
			if err := pause(ctx, touchWait); err != nil {
				return nil, err
			}
			before, err := st.server.usage(true)
			if err != nil {
				return nil, err
			}
			if err := st.subscribe(clients, channels[1:], own); err != nil {
				return nil, err
			}
			if err := pause(ctx, b.cfg.For/10); err != nil {
				return nil, err
			}
			after, err := st.server.usage(true)
			if err != nil {
				return nil, err
			}
			per := float64(n * more)
			return sample{
				subBytes:   float64(after.Heap+after.Stacks-before.Heap-before.Stacks) / per,
				subRSS:     float64(after.RSS-before.RSS) / per,
				goroutines: float64(after.Goroutines),
			}, nil
		},
	}
}

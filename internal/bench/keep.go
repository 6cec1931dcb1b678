package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// keepRows returns the rows about what is kept: on disk, over time, and after a restart.
func keepRows() []row {
	return []row{
		{
			name: "written", about: "bytes written to disk per byte published, compaction included, 64 publishers, ten-minute retention (say --for 15m)",
			subject: publishRun(1, viaNode, drive{Publishers: publishers, Unanswered: unanswered, Size: publishSize, Rate: steadyRate}),
			bounds:  []bound{{of: writtenPer, most: 5}}, alone: true,
		}, {
			name: "retention", about: "5,000 publishes a second, ten-minute retention (say --for 1h)",
			subject: retentionRun, bounds: []bound{{of: diskPerLive, most: 1.5}, {of: stalled, most: 100}, {of: writtenPer, most: 5}}, alone: true,
		}, {
			name: "history", via: viaNode, about: "history of channels of 10,000 messages of 1 KB, cold, one after the other, through a node's Upstream",
			subject: historyRun(viaNode), bounds: []bound{{of: readRate, least: 200}}, whole: true,
		}, {
			name: "history-session", via: viaSession, about: "the same through a session, against a bare QUIC stream",
			subject: historyRun(viaSession), base: bareHistory, baseName: "QUIC",
			bounds: []bound{{of: readRate, leastRatio: 0.8}}, whole: true,
		}, {
			name: "restart", about: "from the start of a process to publishes taken in every shard, after kill -9 with 1,000,000 messages of 1 KB in 10,000 channels",
			subject: restartRun, bounds: []bound{{of: servingAfter, most: 2000}}, alone: true, whole: true,
		}, {
			name: "groups", about: "3,000 groups at rest on three nodes, each a process of its own: their sum, after a minute",
			subject: groupsRun, bounds: []bound{{of: restCPU, most: 5}}, alone: true,
		}, {
			name: "channel-disk", about: "what stays on disk of 100,000 channels that had a message of 1 KB and no producer, after retention, in the state's tables and values",
			subject: idleDiskRun, bounds: []bound{{of: idleDisk, most: 1}}, alone: true, whole: true,
		}, {
			name: "channel-memory", about: "what a channel costs a node in memory: 100,000 at rest, 10,000 with a subscription",
			subject: channelsRun, bounds: []bound{{of: activeBytes, most: 1024}}, alone: true,
		},
	}
}

// steadyRate is publishes a second where what counts is not the speed.
const steadyRate = 5000

// retentionRun publishes at a rate and looks at the disk.
func retentionRun(ctx context.Context, b *bench) (s sample, err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return nil, err
	}
	defer remove(&err)
	// A short run, to try it, has a retention of a sixth of its length, as the long one.
	age := min(10*time.Minute, b.cfg.For/6)
	p, err := b.node(ctx, nodeSetup{Dir: dir, Age: age})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	// The child answers one request at a time: it drives in pieces, and is looked at in between.
	d := drive{
		Publishers: publishers, Unanswered: unanswered, Size: publishSize, Rate: steadyRate, Cold: true,
		For: max(b.cfg.For/60, 100*time.Millisecond),
	}
	first, err := p.measure()
	if err != nil {
		return nil, err
	}
	var h kept
	last := first
	for began := time.Now(); time.Since(began) < b.cfg.For; {
		a, err := p.call(request{Do: "drive", Drive: &d})
		if err != nil {
			return nil, err
		}
		if last, err = p.measure(); err != nil {
			return nil, err
		}
		h.add(a.Drove, last, age)
		if n := len(h.ratios); n > 0 {
			fmt.Fprintf(b.cfg.Progress, "  %v: disk %d MB, %.2f × live\n", time.Since(began).Round(time.Second), last.disk.Size/1e6, h.ratios[n-1])
		}
	}
	if len(h.ratios) == 0 {
		return nil, errors.New("the run is too short to fill what is kept")
	}
	return sample{
		messages: float64(h.total), messageRate: float64(h.total) / last.elapsed.Sub(first.elapsed).Seconds(),
		diskPerLive: slices.Max(h.ratios), stalled: ms(h.stall), ackP99: ms(h.p99),
		writtenPer: float64(last.disk.Written-first.disk.Written) / float64(h.total) / publishSize,
	}, nil
}

// kept is what a run that looks at the disk has seen.
type kept struct {
	total      uint64
	pieces     []piece
	stall, p99 time.Duration
	ratios     []float64 // disk to what is within the retention, since it was passed twice
}

// A piece is how much was published until a moment.
type piece struct {
	at    time.Time
	total uint64
}

func (k *kept) add(d *driven, m measured, age time.Duration) {
	k.total += d.Messages
	k.stall, k.p99 = max(k.stall, d.Stall, d.Max), max(k.p99, d.P99)
	k.pieces = append(k.pieces, piece{m.elapsed, k.total})
	if m.elapsed.Sub(k.pieces[0].at) < 2*age {
		return
	}
	i := slices.IndexFunc(k.pieces, func(p piece) bool { return m.elapsed.Sub(p.at) <= age })
	if live := k.total - k.pieces[max(i-1, 0)].total; live > 0 {
		k.ratios = append(k.ratios, float64(m.disk.Size)/float64(live*publishSize))
	}
}

// Of the histories: how many channels were filled at the same time, how many of them are read, and
// how many messages are in each.
const (
	historyFilled   = 64
	historyChannels = 20
	historyMessages = 10_000
)

// fill publishes to channels, all of the same length.
func fill(p *process, prefix string, channels, each int) error {
	d := filling(prefix, channels, each)
	_, err := p.call(request{Do: "drive", Drive: &d})
	return err
}

func filling(prefix string, channels, each int) drive {
	d := drive{Unanswered: 64, Size: publishSize, Prefix: prefix, Publishers: min(channels, publishers)}
	for channels%d.Publishers != 0 {
		d.Publishers--
	}
	d.Spread = channels / d.Publishers
	d.Most = uint64(each * d.Spread)
	return d
}

// scaledTo divides a size for a small machine or a test.
func (b *bench) scaledTo(n, by int) int {
	if b.cfg.Sessions > 0 {
		return max(n/by, 1)
	}
	return n
}

// historyRun fills channels, and reads them with a new process and nothing in memory.
func historyRun(via string) func(context.Context, *bench) (sample, error) {
	return func(ctx context.Context, b *bench) (s sample, err error) {
		dir, remove, err := b.folder()
		if err != nil {
			return nil, err
		}
		defer remove(&err)
		plan := readPlan{Prefix: "bench:h", Channels: historyChannels, Messages: uint64(b.scaledTo(historyMessages, 100))}
		p, err := b.node(ctx, nodeSetup{Dir: dir})
		if err != nil {
			return nil, err
		}
		if err := errors.Join(fill(p, plan.Prefix, historyFilled, int(plan.Messages)), p.end()); err != nil {
			return nil, err
		}
		if err := cold(dir); err != nil {
			return nil, err
		}
		f, at, err := b.reached(ctx, 1, via, nodeSetup{Dir: dir})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.end()) }()
		p = f[0]
		reader, r := p, request{Do: "read", Read: &plan}
		if via == viaSession {
			if reader, err = spawn(ctx, b.cfg.Command, roleNode); err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, reader.end()) }()
			r.Via = at
			// The session stands before time runs.
			if _, err := reader.call(request{Do: "read", Via: at, Read: &readPlan{Prefix: "bench:probe", Channels: 1, Messages: 1}}); err != nil {
				return nil, err
			}
		}
		stop, err := p.profiled(b)
		if err != nil {
			return nil, err
		}
		if reader != p {
			stopServer := stop
			stopReader, err := reader.profiled(b)
			if err != nil {
				return nil, err
			}
			stop = func() error { return errors.Join(stopReader(), stopServer()) }
		}
		a, err := reader.call(r)
		if err != nil {
			return nil, err
		}
		return sample{
			messages: float64(a.Read.Messages), readRate: float64(a.Read.Bytes) / 1e6 / a.Read.Took.Seconds(),
		}, stop()
	}
}

// bareHistory reads as much from a bare stream.
func bareHistory(ctx context.Context, b *bench) (s sample, err error) {
	p, err := spawn(ctx, b.cfg.Command, roleStream)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	a, err := p.call(request{Do: "listen"})
	if err != nil {
		return nil, err
	}
	n := historyChannels * b.scaledTo(historyMessages, 100)
	r, err := bareRead(ctx, a.Ready.Addr, uint64(n)*publishSize)
	if err != nil {
		return nil, err
	}
	return sample{messages: float64(n), readRate: float64(r.Bytes) / 1e6 / r.Took.Seconds()}, nil
}

// restartRun kills a node without warning, and starts it again.
func restartRun(ctx context.Context, b *bench) (s sample, err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return nil, err
	}
	defer remove(&err)
	p, err := b.node(ctx, nodeSetup{Dir: dir})
	if err != nil {
		return nil, err
	}
	channels, each := b.scaledTo(10_000, 100), 100
	if err := errors.Join(fill(p, "bench:r", channels, each), p.kill()); err != nil {
		return nil, err
	}
	began := time.Now()
	if p, err = spawn(ctx, b.cfg.Command, roleNode); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	stop, err := p.profiled(b)
	if err != nil {
		return nil, err
	}
	if _, err := p.call(request{Do: "node", Node: &nodeSetup{Dir: dir}}); err != nil {
		return nil, err
	}
	after := time.Since(began)
	if err := stop(); err != nil {
		return nil, err
	}
	a, err := p.call(request{Do: "read", Read: &readPlan{Prefix: "bench:r", Channels: channels, Messages: uint64(each)}})
	if err != nil {
		return nil, fmt.Errorf("after the restart: %w", err)
	}
	return sample{messages: float64(a.Read.Messages), servingAfter: ms(after)}, nil
}

// littleCache keeps the store's cache, which is bounded, out of what channels cost.
const littleCache = 8 << 20

// channelsRun measures channels in memory.
func channelsRun(ctx context.Context, b *bench) (s sample, err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return nil, err
	}
	defer remove(&err)
	p, err := b.node(ctx, nodeSetup{Dir: dir, Cache: littleCache})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	resting, active := b.scaledTo(100_000, 100), b.scaledTo(10_000, 100)
	before, err := p.usage(true)
	if err != nil {
		return nil, err
	}
	if err := fill(p, "bench:c", resting, 1); err != nil {
		return nil, err
	}
	if err := pause(ctx, b.cfg.For); err != nil { // until the tables of producers are on disk
		return nil, err
	}
	rest, err := p.usage(true)
	if err != nil {
		return nil, err
	}
	if _, err := p.call(request{Do: "read", Read: &readPlan{Prefix: "bench:c", Channels: active, Hold: true}}); err != nil {
		return nil, err
	}
	held, err := p.usage(true)
	if err != nil {
		return nil, err
	}
	sum := func(heap, stacks int64) float64 { return float64(heap + stacks) }
	return sample{
		restingBytes: (sum(rest.Heap, rest.Stacks) - sum(before.Heap, before.Stacks)) / float64(resting),
		activeBytes:  (sum(held.Heap, held.Stacks) - sum(rest.Heap, rest.Stacks)) / float64(active),
	}, nil
}

// idleDiskRun fills channels, waits until retention has forgotten them, and looks at what is left
// after the node was stopped and started again, as it would come to be by itself, only later.
func idleDiskRun(ctx context.Context, b *bench) (s sample, err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return nil, err
	}
	defer remove(&err)
	channels := b.scaledTo(100_000, 100)
	age := time.Second
	setup := nodeSetup{Dir: dir, Age: age, Forget: age}
	// once runs the node, and returns what its state then takes.
	once := func(use func(p *process) error) (uint64, error) {
		p, err := b.node(ctx, setup)
		if err != nil {
			return 0, err
		}
		if err := errors.Join(use(p), p.end()); err != nil {
			return 0, err
		}
		states, err := filepath.Glob(filepath.Join(dir, "*", "state"))
		if err != nil || len(states) != 1 {
			return 0, fmt.Errorf("%d folders of states in %s, error %w", len(states), dir, err)
		}
		return folderSize(states[0])
	}
	rest := func(*process) error { return pause(ctx, b.cfg.For/2) }
	if _, err := once(func(*process) error { return nil }); err != nil {
		return nil, err
	}
	empty, err := once(rest)
	if err != nil {
		return nil, err
	}
	if _, err := once(func(p *process) error {
		d := filling("bench:i", channels, 1)
		d.Plain = true
		if _, err := p.call(request{Do: "drive", Drive: &d}); err != nil {
			return err
		}
		return pause(ctx, 4*age+b.cfg.For)
	}); err != nil {
		return nil, err
	}
	left, err := once(rest)
	if err != nil {
		return nil, err
	}
	return sample{messages: float64(channels), idleDisk: max(float64(left)-float64(empty), 0) / float64(channels)}, nil
}

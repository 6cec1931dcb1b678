package bench

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/meridian-relay/meridian/internal/bench/baseline"
)

// The load of the publishing rows.
const (
	publishers  = 64
	publishSize = 1024
	unanswered  = 16 // of each publisher: 64 of them have 1 MiB on the way
)

// vias are how nodes are driven: in their process, or from another one.
const (
	viaNode    = "node"
	viaSession = "session"
)

// publishRows returns the rows of durable homes.
func publishRows() []row {
	one := drive{Publishers: 1, Unanswered: 1, Size: publishSize}
	many := drive{Publishers: publishers, Unanswered: unanswered, Size: publishSize}
	list := []row{
		{
			name: "one", via: viaNode, about: "1 publisher, 1 unanswered, one node, through its Upstream, against fdatasync of 1 KB records",
			subject: publishRun(1, viaNode, one), base: diskRun, baseName: "fdatasync",
			bounds: []bound{{of: ackP99, ratio: 3}},
		}, {
			name: "many", via: viaNode, about: "64 publishers, 16 unanswered each, 64 channels, one node, through its Upstream, against fdatasync of 1 KB records",
			subject: publishRun(1, viaNode, many), base: diskRun, baseName: "fdatasync",
			bounds: []bound{{of: ackP99, most: 25}},
		}, {
			name: "one-session", via: viaSession, about: "1 publisher, 1 unanswered, one node, through a session, against fdatasync of 1 KB records",
			subject: publishRun(1, viaSession, one), base: diskRun, baseName: "fdatasync",
		}, {
			name: "many-session", via: viaSession, about: "64 publishers, 16 unanswered each, 64 channels, one node, through two sessions, against bare QUIC streams",
			subject: publishRun(1, viaSession, many), base: streamRun(many), baseName: "QUIC",
			bounds: []bound{{of: messageRate, least: 25_000}},
		}, {
			name: "three", via: viaNode, about: "64 publishers, 16 unanswered each, three nodes, each a process with a third of the publishers on its Upstream; each leads a third of the shards, so two publishes of three go on to another process. Against one node with all of them",
			subject: publishRun(3, viaNode, many), base: publishRun(1, viaNode, many), baseName: "one node",
			bounds: []bound{{of: messageRate, leastRatio: 0.25}},
		},
	}
	list = append(list, keepRows()...)
	for i := range list {
		list[i].group, list[i].disk = "publish", true
	}
	return list
}

// folder makes a folder for one run on the disk under test.
func (b *bench) folder() (dir string, remove func(*error), err error) {
	dir, err = os.MkdirTemp(b.cfg.Dir, "meridian-bench")
	return dir, func(err *error) { *err = errors.Join(*err, os.RemoveAll(dir)) }, err
}

// publishRun drives nodes: through their Upstreams in their processes, or the first one through
// sessions from another process.
func publishRun(nodes int, via string, d drive) func(context.Context, *bench) (sample, error) {
	return func(ctx context.Context, b *bench) (s sample, err error) {
		dir, remove, err := b.folder()
		if err != nil {
			return nil, err
		}
		defer remove(&err)
		f, at, err := b.reached(ctx, nodes, via, nodeSetup{Dir: dir, Age: 10 * time.Minute})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.end()) }()
		d := d
		d.For = b.cfg.For
		if b.cfg.Unanswered > 0 && d.Publishers > 1 {
			d.Unanswered = b.cfg.Unanswered
		}
		if via != viaSession {
			return driveRun(b, f, d, f.drive)
		}
		driver, err := spawn(ctx, b.cfg.Command, roleNode)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, driver.end()) }()
		return driveRun(b, f, d, func(d drive) (driven, error) {
			a, err := driver.call(request{Do: "drive", Drive: &d, Via: at})
			if err != nil {
				return driven{}, err
			}
			return *a.Drove, nil
		})
	}
}

// reached starts nodes with a listener where one is needed: others are to reach them.
func (b *bench) reached(ctx context.Context, nodes int, via string, setup nodeSetup) (fleet, *ready, error) {
	if nodes > 1 || via == viaSession {
		return b.fleet(ctx, nodes, setup)
	}
	p, err := b.node(ctx, setup)
	if err != nil {
		return nil, nil, err
	}
	return fleet{p}, nil, nil
}

// driveRun drives, and measures what it costs the nodes.
func driveRun(b *bench, f fleet, d drive, run func(drive) (driven, error)) (sample, error) {
	stop, err := f.profiled(b)
	if err != nil {
		return nil, err
	}
	from, err := f.measure()
	if err != nil {
		return nil, err
	}
	done, err := run(d)
	if err != nil {
		return nil, err
	}
	to, err := f.measure()
	if err != nil {
		return nil, err
	}
	return drove(&done, from, to, d.Size), stop()
}

// drove turns a drive's result into figures. The costs are of the whole drive, its warming-up
// too, so they are spread over what it would have had in that time.
func drove(d *driven, from, to measured, size int) sample {
	n := float64(d.Messages)
	took := d.Took.Seconds()
	all := n * to.elapsed.Sub(from.elapsed).Seconds() / took
	return sample{
		messages: n, messageRate: n / took,
		ackP50: ms(d.P50), ackP99: ms(d.P99), ackMax: ms(d.Max), stalled: ms(d.Stall),
		cpuPerMessage: float64(to.cpu-from.cpu) / 1e3 / all,
		syncsPer:      float64(to.disk.Syncs-from.disk.Syncs) / all,
		writtenPer:    float64(to.disk.Written-from.disk.Written) / all / float64(size),
	}
}

// diskRun is the bare loop of records, each synced.
func diskRun(ctx context.Context, b *bench) (sample, error) { return diskFor(ctx, b, b.cfg.For) }

func diskFor(ctx context.Context, b *bench, length time.Duration) (s sample, err error) {
	d, err := baseline.NewDisk(b.cfg.Dir, publishSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	timed, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	took, err := d.Run(timed)
	if err != nil || len(took) == 0 {
		return nil, errors.Join(err, ctx.Err())
	}
	h := histogram(took)
	return sample{
		messages: float64(len(took)), messageRate: float64(len(took)) / length.Seconds(),
		ackP50: h(50), ackP99: h(99), ackMax: h(100),
	}, nil
}

// streamRun is bare streams with the same records.
func streamRun(d drive) func(context.Context, *bench) (sample, error) {
	return func(ctx context.Context, b *bench) (s sample, err error) {
		p, err := spawn(ctx, b.cfg.Command, roleStream)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.end()) }()
		a, err := p.call(request{Do: "listen"})
		if err != nil {
			return nil, err
		}
		d := d
		d.For = b.cfg.For
		r, err := bareStreams(ctx, a.Ready.Addr, d)
		if err != nil {
			return nil, err
		}
		return sample{messages: float64(r.Messages), messageRate: float64(r.Messages) / r.Took.Seconds()}, nil
	}
}

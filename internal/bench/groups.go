package bench

import (
	"context"
	"errors"
	"time"
)

// groupNodes is how many nodes the groups rest on.
const groupNodes = 3

// groupsRun lets many groups rest.
func groupsRun(ctx context.Context, b *bench) (s sample, err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return nil, err
	}
	defer remove(&err)
	f, _, err := b.fleet(ctx, groupNodes, nodeSetup{Dir: dir, Shards: b.scaledTo(3000, 100)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.end()) }()
	// They have to be founded, and come to rest.
	if err := pause(ctx, min(time.Minute, 3*b.cfg.For)); err != nil {
		return nil, err
	}
	stop, err := f.profiled(b)
	if err != nil {
		return nil, err
	}
	from, err := f.measure()
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, b.cfg.For); err != nil {
		return nil, err
	}
	to, err := f.measure()
	if err != nil {
		return nil, err
	}
	took := to.elapsed.Sub(from.elapsed)
	ofCore := func(d time.Duration) float64 { return 100 * float64(d) / float64(took) }
	s = sample{
		restCPU: ofCore(to.cpu - from.cpu), syncsRest: float64(to.disk.Syncs - from.disk.Syncs), rss: float64(to.rss) / 1e6,
	}
	for i, m := range restCPUOf {
		s[m] = ofCore(to.each[i] - from.each[i])
	}
	return s, stop()
}

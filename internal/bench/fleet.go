package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
)

// A fleet is nodes, each a process of its own.
type fleet []*process

// memberAt is the entry of a node in the list of all.
func memberAt(i int, addr string) core.Member {
	return core.Member{Name: shard.Node(fmt.Sprintf("n%d", i+1)), Address: addr, Region: "here", Zone: fmt.Sprint(i)}
}

// node starts a node that is alone.
func (b *bench) node(ctx context.Context, setup nodeSetup) (*process, error) {
	p, err := spawn(ctx, b.cfg.Command, roleNode)
	if err != nil {
		return nil, err
	}
	if err := p.do(request{Do: "node", Node: &setup}); err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// fleet starts nodes that talk over QUIC with mutual TLS, also a single one, and returns when all
// of them take publishes in every shard. An edge reaches the first of them at at.
func (b *bench) fleet(ctx context.Context, nodes int, setup nodeSetup) (f fleet, at *ready, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, f.end())
		}
	}()
	ca, err := pki.NewAuthority(fleetName, time.Now())
	if err != nil {
		return nil, nil, err
	}
	if setup.CA, _, err = ca.Marshal(); err != nil {
		return nil, nil, err
	}
	for i := range nodes {
		p, err := spawn(ctx, b.cfg.Command, roleNode)
		if err != nil {
			return f, nil, err
		}
		f = append(f, p)
		a, err := p.call(request{Do: "bind"})
		if err != nil {
			return f, nil, err
		}
		setup.Members = append(setup.Members, memberAt(i, a.Ready.Addr))
	}
	err = f.each(func(i int, p *process) error {
		own := setup
		own.Self = i
		leaf, err := ca.Issue(pki.Node, string(own.Members[i].Name), []string{"127.0.0.1"}, 1, time.Now())
		if err != nil {
			return err
		}
		own.Cert, own.Key = leaf.Cert, leaf.Key
		return p.do(request{Do: "node", Node: &own})
	})
	if err != nil {
		return f, nil, err
	}
	edge, err := ca.Issue(pki.Edge, "bench", nil, 1, time.Now())
	if err != nil {
		return f, nil, err
	}
	return f, &ready{Addr: setup.Members[0].Address, CA: setup.CA, Cert: edge.Cert, Key: edge.Key}, nil
}

// each does something with every node at once.
func (f fleet) each(do func(i int, p *process) error) error {
	errs := make([]error, len(f))
	var wg sync.WaitGroup
	for i, p := range f {
		wg.Go(func() { errs[i] = do(i, p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (f fleet) end() error {
	return f.each(func(_ int, p *process) error { return p.end() })
}

// profiled has every node write a CPU profile until stop, if profiles are wanted.
func (f fleet) profiled(b *bench) (stop func() error, err error) {
	stops := make([]func() error, len(f))
	for i, p := range f {
		if stops[i], err = p.profiled(b); err != nil {
			return nil, err
		}
	}
	return func() error { return f.each(func(i int, _ *process) error { return stops[i]() }) }, nil
}

// drive has publishers in the nodes' processes publish through their node's Upstream, the same
// number in each as far as that goes.
func (f fleet) drive(d drive) (driven, error) {
	list := make([]driven, len(f))
	err := f.each(func(i int, p *process) error {
		a, err := p.call(request{Do: "drive", Drive: d.share(i, len(f))})
		if err == nil {
			list[i] = *a.Drove
		}
		return err
	})
	if err != nil {
		return driven{}, err
	}
	return together(list)
}

// A measured is what nodes used up to a moment.
type measured struct {
	cpu     time.Duration
	each    []time.Duration // CPU of each
	disk    diskUse
	rss     int64
	elapsed time.Time
}

// measure takes the sum over the nodes.
func (f fleet) measure() (sum measured, err error) {
	list := make([]measured, len(f))
	err = f.each(func(i int, p *process) error {
		m, err := p.measure()
		list[i] = m
		return err
	})
	if err != nil {
		return sum, err
	}
	for _, m := range list {
		sum.cpu += m.cpu
		sum.each = append(sum.each, m.cpu)
		sum.disk.Size += m.disk.Size
		sum.disk.Written += m.disk.Written
		sum.disk.Syncs += m.disk.Syncs
		sum.rss += m.rss
		sum.elapsed = m.elapsed
	}
	return sum, nil
}

func (p *process) measure() (m measured, err error) {
	u, err := p.usage(false)
	if err != nil {
		return m, err
	}
	a, err := p.call(request{Do: "disk"})
	if err != nil {
		return m, err
	}
	return measured{u.CPU, []time.Duration{u.CPU}, *a.Disk, u.RSS, time.Now()}, nil
}

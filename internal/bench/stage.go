package bench

import (
	"context"
	"errors"

	"github.com/meridian-relay/meridian/internal/bench/load"
)

// A stage is the processes of one run: a server, and clients as they are asked for.
type stage struct {
	bench  *bench
	ctx    context.Context
	server *process
	others []*process
	ready  ready
	addr   string
}

// What a relay's home keeps of a channel, in bytes: enough that nobody falls out of it, and, where
// memory is taken, little, so that it is full soon and does not grow meanwhile.
const (
	keepMuch   = 16 << 20
	keepLittle = 1 << 20
)

// stage starts a server.
func (b *bench) stage(ctx context.Context, server role, retain uint64) (*stage, error) {
	p, err := spawn(ctx, b.cfg.Command, server)
	if err != nil {
		return nil, err
	}
	st := &stage{bench: b, ctx: ctx, server: p}
	a, err := p.call(request{Do: "listen", Listen: &listen{FlowControl: b.flow, Retain: retain}})
	if err != nil {
		st.end(&err)
		return nil, err
	}
	st.ready, st.addr = *a.Ready, a.Ready.Addr
	return st, nil
}

// end ends all processes; their errors join *err.
func (st *stage) end(err *error) {
	for _, p := range st.others {
		*err = errors.Join(*err, p.end())
	}
	*err = errors.Join(*err, st.server.end())
}

// clients starts a process that holds n sessions to addr.
func (st *stage) clients(addr string, n int) (*process, error) {
	p, err := spawn(st.ctx, st.bench.cfg.Command, roleLoad)
	if err != nil {
		return nil, err
	}
	st.others = append(st.others, p)
	err = p.do(request{Do: "load", Load: &load.Config{
		Addr: addr, Path: st.ready.Path, Token: st.ready.Token,
		Bare: st.bare(), FlowControl: st.bench.flow, Lanes: 256, Window: st.bench.cfg.Window,
	}})
	if err != nil {
		return nil, err
	}
	return p, p.do(request{Do: "dial", Sessions: n})
}

func (st *stage) bare() bool { return st.server.role == roleBaseline }

// subscribe has the clients subscribe; the baseline sends without being asked.
func (st *stage) subscribe(clients *process, channels []string, own bool) error {
	if st.bare() {
		return nil
	}
	return clients.do(request{Do: "subscribe", Channels: channels, Own: own})
}

// publish has messages flow: from the baseline itself, or from a publisher's session among
// the clients.
func (st *stage) publish(clients *process, src load.Source) error {
	p := clients
	if st.bare() {
		p = st.server
	}
	return p.do(request{Do: "publish", Source: &src})
}

func (st *stage) quiet(clients *process) error {
	p := clients
	if st.bare() {
		p = st.server
	}
	return p.do(request{Do: "quiet"})
}

// touch sends one message to every session and waits, so that what is made at the first
// message exists.
func (st *stage) touch(clients *process) error {
	if err := st.publish(clients, load.Source{Channels: names(1), Size: 128, Rate: 10}); err != nil {
		return err
	}
	for {
		c, err := clients.count()
		if err != nil {
			return err
		}
		if c.Messages > 0 {
			break
		}
		if err := pause(st.ctx, touchWait); err != nil {
			return err
		}
	}
	return st.quiet(clients)
}

// profile takes a CPU profile of the server until stop, if one is wanted.
func (st *stage) profile(b *bench) (stop func() error, err error) {
	return st.server.profiled(b)
}

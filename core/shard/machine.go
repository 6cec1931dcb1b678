package shard

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/internal/planted"
	"github.com/meridian-relay/meridian/relay"
)

// A Machine runs entries on states. It holds nothing between runs but scratch; one for each
// goroutine that applies.
type Machine struct {
	batch   *channel.Batch
	touched map[relay.Channel]struct{} // keys are lent by the entries of one run
	fresh   bool                       // nothing was run; for planted.ReuseSeq
}

// NewMachine returns a Machine.
func NewMachine() *Machine {
	return &Machine{batch: channel.NewBatch(), touched: make(map[relay.Channel]struct{}), fresh: true}
}

// Run runs a's entries on v, which then has the shard's own keys too, and sets a.Result. The
// caller commits v and calls Answer. An error means that log or state are damaged (ErrDamaged):
// the caller commits nothing and ends the process, as on an error of the store.
//
// What it writes depends on v and the entries alone. Entries that v has already are passed over.
func (m *Machine) Run(a *Apply, v channel.View) (err error) {
	r := run{Machine: m, a: a, v: v}
	defer func() {
		clear(m.touched)
		switch p := recover().(type) {
		case nil:
		case *channel.Damage:
			m.batch = channel.NewBatch() // the other one is in the midst of something
			err = fmt.Errorf("%w: %v: %w", ErrDamaged, a.Replica, p)
		default:
			panic(p)
		}
	}()
	if planted.On(planted.ReuseSeq) {
		m.batch.Restarted(m.fresh)
		m.fresh = false
	}
	a.Result = Result{answers: a.Result.answers[:0]}
	if err := r.entries(); err != nil {
		return fmt.Errorf("%v: %w", a.Replica, err)
	}
	return nil
}

// A run is one Run.
type run struct {
	*Machine
	a          *Apply
	v          channel.View
	open       bool // the batch has begun
	at         Place
	descriptor *Descriptor // once it was asked for
}

func (r *run) entries() error {
	start, err := loadApplied(r.v)
	if err != nil {
		return err
	}
	r.at = start
	for i, e := range r.a.Entries {
		index := e.GetIndex()
		if index <= r.at.Index && !planted.On(planted.ApplyTwice) {
			continue
		}
		if index > r.at.Index+1 {
			return fmt.Errorf("%w: entry %d follows the applied %d", ErrDamaged, index, r.at.Index)
		}
		var p *proposal
		if i < len(r.a.proposals) {
			p = r.a.proposals[i]
		}
		switch e.GetType() {
		case raftpb.EntryNormal:
			err = r.entry(e.GetData(), p)
		default:
			err = r.confChange(e)
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		r.at = Place{Index: index, Term: e.GetTerm()}
	}
	if r.open {
		r.batch.Commit()
	}
	if r.at != start {
		WriteApplied(r.v, r.at)
	}
	r.a.Result.Applied = r.at
	r.a.Result.Due = r.due()
	return nil
}

// due is when retention has to look again: at once, where its time has come in the log, though the
// leader's clock may be behind that.
func (r *run) due() uint64 {
	at := channel.NextDue(r.v)
	if at <= 1 {
		return at
	}
	now := r.batch.Time()
	if !r.open {
		now = channel.Time(r.v)
	}
	if at <= now {
		return 1
	}
	return at
}

// entry runs one entry. One of raft's own is empty.
func (r *run) entry(data []byte, p *proposal) error {
	if len(data) == 0 {
		return nil
	}
	_, now, d, err := openEntry(data)
	if err != nil {
		return err
	}
	if t := time.UnixMilli(int64(now)); r.open {
		r.batch.Advance(t)
	} else {
		r.batch.Begin(r.v, t)
		r.open = true
	}
	publishes := 0
	var pub relay.Publication
	for {
		k, body, ok := d.next()
		if !ok {
			break
		}
		if k == kindPublish {
			body.publish(&pub)
			if !body.done() {
				return fmt.Errorf("%w: publish %d of an entry", ErrDamaged, publishes)
			}
			r.publish(&pub, p, publishes)
			publishes++
			continue
		}
		if int(k) >= len(needs) || k == 0 {
			return fmt.Errorf("%w: an entry has a command of kind %d, which this version does not know", ErrDamaged, k)
		}
		c := body.command(k)
		if !body.done() {
			return fmt.Errorf("%w: command of kind %d", ErrDamaged, k)
		}
		if err := r.command(&c); errors.Is(err, ErrDamaged) {
			return err
		} else if err != nil && p != nil {
			p.err = err
		}
	}
	if d.bad {
		return fmt.Errorf("%w: an entry ends in the midst of a command", ErrDamaged)
	}
	return nil
}

// publish publishes, and keeps the answer for whoever waits here.
func (r *run) publish(pub *relay.Publication, p *proposal, n int) {
	at, end := r.batch.Publish(*pub)
	res := &r.a.Result
	if end.Code == relay.Done {
		if _, known := r.touched[pub.Channel]; !known {
			r.touched[pub.Channel] = struct{}{}
			res.Touched = append(res.Touched, Touched{relay.Channel(strings.Clone(string(pub.Channel))), at.Epoch})
		}
	}
	if p != nil && n < len(p.answers) {
		res.answers = append(res.answers, answered{p.answers[n], at, end})
	}
}

// command runs a command other than a publish. An error is its refusal, the same everywhere, unless
// it is ErrDamaged.
func (r *run) command(c *Command) error {
	b := r.batch
	switch {
	case len(c.Steps) > 0:
		for _, s := range c.Steps {
			b.Apply(s)
		}
	case c.Expire > 0:
		b.Expire(c.Expire)
	case c.Policy != nil:
		if planted.On(planted.PolicyOutside) && r.a.Replica.Number%2 == 0 {
			return nil // as its configuration says, which nobody has changed
		}
		return b.SetPolicy(c.Policy.Namespace, c.Policy.Policy)
	case c.Limits != nil:
		b.SetLimits(*c.Limits)
	case c.Slots != nil:
		c.Slots.apply(b)
	case c.Pin != nil:
		return c.Pin.apply(b)
	case c.Raise != nil:
		b.Raise(c.Raise.Floor, c.Raise.Broken)
	case c.Prefer != nil:
		return r.prefer(c.Prefer.Member)
	case c.Version > 0:
		return r.change(func(d *Descriptor) { d.Version = max(d.Version, c.Version) })
	}
	return nil
}

func (c *SlotChange) apply(b *channel.Batch) {
	if c.Own {
		b.Own(c.Namespace, c.First, c.Last)
	} else {
		b.Disown(c.Namespace, c.First, c.Last, c.Else.name())
	}
}

func (c *PinChange) apply(b *channel.Batch) error {
	switch {
	case c.Own:
		return b.Pin(c.Channel)
	case c.Else != 0:
		return b.PinElse(c.Channel, c.Else.name())
	}
	return b.Unpin(c.Channel)
}

// name is what channel calls a shard: empty where nobody knows one.
func (id ID) name() string {
	if id == 0 {
		return ""
	}
	return id.String()
}

// change changes the descriptor.
func (r *run) change(f func(*Descriptor)) error {
	d := Descriptor{}
	if r.descriptor != nil {
		d = *r.descriptor
	} else {
		var err error
		if d, err = loadDescriptor(r.v); err != nil {
			return err
		}
	}
	f(&d)
	writeDescriptor(r.v, &d)
	r.descriptor, r.a.Result.Descriptor = &d, &d
	return nil
}

// prefer notes who is to lead. A member that is gone meanwhile is refused, the same everywhere.
func (r *run) prefer(n Number) error {
	var refused error
	if err := r.change(func(d *Descriptor) {
		if m := d.Member(n); n != 0 && (m == nil || m.Role == Learner) {
			refused = fmt.Errorf("%v: %d is no voter; members: %s", d.Shard, n, listed(d.Members))
			return
		}
		d.Prefer = n
	}); err != nil {
		return err
	}
	return refused
}

// confChange runs an entry that changes the membership.
func (r *run) confChange(e *raftpb.Entry) error {
	cc, ctx, err := decodeConfChange(e)
	if err != nil {
		return err
	}
	var next *Descriptor
	var bad error
	err = r.change(func(d *Descriptor) {
		if next, bad = d.changed(cc, &ctx); bad == nil {
			*d = *next
		}
	})
	if bad != nil {
		return bad
	}
	return err
}

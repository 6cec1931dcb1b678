package shard_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/shard/shardtest"
	"github.com/meridian-relay/meridian/relay"
)

// tick is how often hosts are ticked.
const tick = 50 * time.Millisecond

// A simNode is a process and its disk.
type simNode struct {
	s      *sim
	index  int
	name   shard.Node
	id     shard.StoreID
	disk   *shardtest.Store
	skew   time.Duration // of its clock
	create []*shard.Genesis

	// What a crash ends.
	host    *shard.Host // nil: it is down
	boot    int
	machine *shard.Machine
	writes  []*shard.Write
	syncing bool
	applied map[shard.Replica]time.Duration // when the last Apply is to run
	frozen  map[uint64]*freezing
	name64  uint64
	heard   []time.Duration // of each node
	alive   []bool

	paused  time.Duration // until then
	slow    time.Duration // the disk is, until then
	damaged bool          // the log cannot be read; the store has to be replaced
}

// A freezing is a state that is kept for a peer.
type freezing struct {
	shard.Frozen
	r shard.Replica
}

func newNode(s *sim, i int) *simNode {
	n := &simNode{s: s, index: i, name: shard.Node(fmt.Sprintf("n%d", i)), disk: shardtest.New(),
		heard: make([]time.Duration, s.plan.nodes+s.plan.spares), alive: make([]bool, s.plan.nodes+s.plan.spares)}
	n.id = shard.StoreID{byte(i + 1), 1}
	n.skew = time.Duration(s.rand.IntN(400)-200) * time.Millisecond
	return n
}

func genesis(s *sim, id shard.ID) *shard.Genesis {
	g := &shard.Genesis{Descriptor: shard.Descriptor{Shard: id, Class: shard.Region}, Time: start}
	for i, n := range s.nodes[:s.plan.nodes] {
		g.Descriptor.Members = append(g.Descriptor.Members,
			shard.Member{Number: shard.Number(i + 1), Node: n.name, Store: n.id, Role: shard.Voter})
	}
	for _, ns := range namespaces {
		p := channel.Policy{Age: -1}
		if ns == "few" {
			p = channel.Policy{Age: 4 * time.Second, Count: 30}
		}
		g.Policies = append(g.Policies, shard.PolicyChange{Namespace: namespace(ns, id), Policy: p})
		g.Slots = append(g.Slots, shard.SlotChange{Namespace: namespace(ns, id), Last: relay.Slots - 1, Own: true})
	}
	return g
}

// post lets something happen on the node, unless it is another process then.
func (n *simNode) post(d time.Duration, do func()) {
	n.s.push(&event{at: n.s.now + d, node: n, boot: n.boot, do: do})
}

// boots starts the process.
func (n *simNode) boots(first bool) {
	if n.host != nil || n.damaged {
		return
	}
	n.boot++
	n.machine = shard.NewMachine()
	n.writes, n.syncing = nil, false
	n.applied = make(map[shard.Replica]time.Duration)
	n.frozen = make(map[uint64]*freezing)
	for i := range n.heard {
		n.heard[i], n.alive[i] = 0, false
	}
	h, err := shard.NewHost(shard.HostConfig{
		Node: n.name, Store: n.id, Log: n.disk, States: n.disk, Freeze: n.freeze,
		Now:      func() time.Time { return start.Add(n.s.now + n.skew) },
		LagShard: n.s.plan.lag, LagNode: 4 * n.s.plan.lag,
	})
	if err != nil {
		panic(err)
	}
	n.host = h
	for _, r := range n.disk.Replicas() {
		if err := h.Open(r); err != nil {
			n.s.fail("%s opens %v: %v", n.name, r, err)
		}
	}
	if first {
		for _, g := range n.create {
			if err := h.Create(g); err != nil {
				n.s.fail("%s creates %v: %v", n.name, g.Descriptor.Shard, err)
			}
		}
	} else {
		n.s.stats.restarts++
	}
	n.post(n.s.between(0, tick), n.tick)
	n.post(n.s.between(200*time.Millisecond, 3*time.Second), n.flush)
	n.drain()
}

func (n *simNode) tick() {
	n.host.Tick()
	n.post(tick, n.tick)
}

func (n *simNode) flush() {
	n.s.stats.flushes++
	if err := n.disk.Flush(); err != nil {
		n.s.fail("%s: flush: %v", n.name, err)
	}
	n.host.Flushed()
	n.post(n.s.between(200*time.Millisecond, 3*time.Second), n.flush)
}

// crash ends the process, and with power also what the disk had not synced; a process that is
// killed leaves that to the system, which writes it.
func (n *simNode) crash(power, half bool) {
	if n.host == nil {
		return
	}
	n.s.stats.crashes++
	n.host = nil
	n.boot++
	n.paused = 0
	disk, err := n.disk.Crash(func(unsynced int) (int, bool) {
		if !power {
			return unsynced, false
		}
		return n.s.rand.IntN(unsynced + 1), half
	})
	if errors.Is(err, shardtest.ErrDamaged) {
		n.s.stats.damaged++
		n.damaged = true
		return
	}
	if err != nil {
		n.s.fail("%s: crash: %v", n.name, err)
		return
	}
	n.disk = disk
}

// wipe gives the node a new disk, and so a new store.
func (n *simNode) wipe() {
	n.disk = shardtest.New()
	n.id[1]++
	n.damaged = false
}

// drain does what the host wants done.
func (n *simNode) drain() {
	if n.host == nil {
		return
	}
	for range 1000 {
		w := n.host.Take()
		if err := n.host.Err(); err != nil {
			n.s.fail("%s: %v", n.name, err)
			n.host, n.boot = nil, n.boot+1
			return
		}
		if len(w.Send)+len(w.Writes)+len(w.Applies)+len(w.Fetches)+len(w.Upkeep)+len(w.Events) == 0 {
			n.sync()
			return
		}
		for _, e := range w.Events {
			n.event(&e)
		}
		for _, send := range w.Send {
			to := n.s.byName[send.To]
			for _, m := range send.Urgent {
				n.s.transmit(n, to, 0, m)
			}
			for _, m := range send.Bulk {
				n.s.transmit(n, to, 1, m)
			}
		}
		n.writes = append(n.writes, w.Writes...)
		for _, a := range w.Applies {
			at := max(n.s.now+n.s.between(0, 2*time.Millisecond), n.applied[a.Replica])
			if n.s.chance(n.s.plan.stall) {
				at += n.s.between(0, 2*time.Second) // between the quorum and the answer
			}
			n.applied[a.Replica] = at
			n.post(at-n.s.now, func() { n.apply(a) })
		}
		for _, f := range w.Fetches {
			n.s.fetch(n, f)
		}
		for _, r := range w.Upkeep {
			n.upkeep(r)
		}
	}
	n.s.fail("%s: a host that always has work", n.name)
}

func (n *simNode) event(e *shard.Event) {
	n.s.mix(uint64(e.Replica.Shard), uint64(e.Replica.Number), uint64(e.Role), e.Term)
	if e.Role != shard.Following && e.Term > n.s.leaders[e.Replica.Shard] {
		n.s.leaders[e.Replica.Shard] = e.Term
		n.s.stats.elections++
	}
	if e.Role != shard.Following {
		key := [2]uint64{uint64(e.Replica.Shard), e.Term}
		if was, ok := n.s.votes[key]; ok && was != e.Replica.Number {
			n.s.fail("%v and %v/%d both lead in term %d", e.Replica, e.Replica.Shard, was, e.Term)
		}
		n.s.votes[key] = e.Replica.Number
	}
}

// sync writes what there is to be written, with one sync for all of it.
func (n *simNode) sync() {
	if n.syncing || len(n.writes) == 0 {
		return
	}
	list := n.writes
	n.writes, n.syncing = nil, true
	for _, w := range list {
		if err := n.disk.Write(w); err != nil {
			n.s.fail("%s: write: %v", n.name, err)
		}
		if w.Staged != nil {
			n.s.stats.snapshots++
		}
		n.s.mix(uint64(w.Replica.Shard), uint64(w.Replica.Number), uint64(len(w.Entries)))
	}
	d := n.s.between(200*time.Microsecond, 3*time.Millisecond)
	if n.slow > n.s.now {
		d = n.s.between(50*time.Millisecond, 1500*time.Millisecond)
	}
	n.post(d, func() {
		if err := n.disk.Sync(); err != nil {
			n.s.fail("%s: sync: %v", n.name, err)
		}
		n.syncing = false
		for _, w := range list {
			n.host.Written(w)
		}
	})
}

// apply runs entries on a state.
func (n *simNode) apply(a *shard.Apply) {
	s := n.s
	key := shard.Replica{Shard: a.Replica.Shard}
	known := s.entries[key]
	if known == nil {
		known = make(map[uint64]uint64)
		s.entries[key] = known
	}
	for _, e := range a.Entries {
		h := xxhash.Sum64(e.GetData()) + e.GetTerm()*1_000_003
		s.mix(e.GetIndex(), h)
		if was, ok := known[e.GetIndex()]; ok && was != h {
			s.fail("%v applies another entry at %d than the others", a.Replica, e.GetIndex())
		}
		known[e.GetIndex()] = h
	}
	b := n.disk.Begin(a.Replica)
	defer b.Close()
	if err := n.machine.Run(a, b); err != nil {
		if _, gone := n.disk.Info(a.Replica); errors.Is(gone, shard.ErrRemoved) {
			n.host.Applied(a)
			return
		}
		s.fail("%s: %v", n.name, err)
		n.host, n.boot = nil, n.boot+1
		return
	}
	if err := b.Commit(); err != nil && !errors.Is(err, shard.ErrNoReplica) {
		s.fail("%s: commit: %v", n.name, err)
	}
	a.Answer()
	n.host.Applied(a)
}

func (n *simNode) upkeep(r shard.Replica) {
	rd := n.disk.Read(r, false)
	list := shard.Upkeep(rd, start.Add(n.s.now+n.skew))
	rd.Close()
	n.s.stats.upkeeps++
	n.host.Propose(r.Shard, list, func(error) {})
}

// freeze keeps a state for a peer, for ten seconds at most.
func (n *simNode) freeze(r shard.Replica) (uint64, shard.Place, shard.Descriptor, error) {
	f, err := n.disk.Freeze(r)
	if err != nil {
		return 0, shard.Place{}, shard.Descriptor{}, err
	}
	n.name64++
	name := n.name64
	n.frozen[name] = &freezing{Frozen: f, r: r}
	n.post(10*time.Second, func() { n.unfreeze(name, 0, errors.New("nobody came for it")) })
	return name, f.At(), f.Descriptor(), nil
}

func (n *simNode) unfreeze(name uint64, by shard.Number, err error) {
	f := n.frozen[name]
	if f == nil {
		return
	}
	delete(n.frozen, name)
	f.Close()
	n.host.FetchEnded(f.r, by, err)
}

// reads returns a node's state of a shard, if it has one that was applied.
func (n *simNode) reads(id shard.ID) (shard.Reader, bool) {
	list := n.disk.Replicas()
	i := slices.IndexFunc(list, func(r shard.Replica) bool { return r.Shard == id })
	if n.host == nil || n.paused > n.s.now || i < 0 {
		return nil, false
	}
	rd := n.disk.Read(list[i], false)
	if _, ok := shard.ReadApplied(rd); !ok {
		rd.Close()
		return nil, false
	}
	return rd, true
}

// transmit sends a message, if the network lets it through.
func (s *sim) transmit(from, to *simNode, class int, m shard.Message) {
	s.stats.sent++
	if m.Raft != nil {
		s.mix(uint64(from.index), uint64(m.Raft.GetType()), m.Raft.GetTerm(), m.Raft.GetIndex())
		s.promise(m)
	}
	if to == nil || s.cut(from, to) || s.chance(s.plan.loss) {
		s.stats.lost++
		return
	}
	copies := 1
	if s.chance(s.plan.duplicate) {
		copies = 2
		s.stats.duplicated++
	}
	for range copies {
		at := s.now + s.delay()
		key := [3]int{from.index, to.index, class}
		if s.chance(s.plan.reorder) {
			at += s.between(0, 50*time.Millisecond)
			s.stats.reordered++
		} else {
			at = max(at, s.fifo[key])
			s.fifo[key] = at
		}
		if m.Raft != nil && copies > 1 {
			m.Raft = proto.CloneOf(m.Raft)
		}
		s.push(&event{at: at, node: to, boot: to.boot, do: func() {
			if !s.cut(from, to) {
				to.host.Receive(from.name, m)
			}
		}})
	}
}

func (s *sim) delay() time.Duration { return s.between(300*time.Microsecond, s.plan.latency) }

func (s *sim) cut(from, to *simNode) bool { return s.cuts[[2]int{from.index, to.index}] > s.now }

// beat tells nodes who is alive.
func (s *sim) beat() {
	s.after(100*time.Millisecond, s.beat)
	for _, to := range s.nodes {
		if to.host == nil || to.paused > s.now {
			continue
		}
		for i, from := range s.nodes {
			if from == to {
				continue
			}
			if from.host != nil && from.paused <= s.now && !s.cut(from, to) {
				to.heard[i] = s.now
			}
			alive := to.heard[i] > 0 && s.now-to.heard[i] < time.Second
			if alive == to.alive[i] {
				continue
			}
			to.alive[i] = alive
			if alive {
				to.host.Heard(from.name)
			} else {
				to.host.Lost(from.name)
			}
			to.drain()
		}
	}
}

// fetch copies a state from the leader's node, chunk by chunk.
func (s *sim) fetch(n *simNode, f *shard.Fetch) {
	s.stats.fetches++
	from := s.byName[f.From]
	boot := from.boot
	ended := func(err error) { // the leader learns it too
		s.after(s.delay(), func() {
			if from.boot == boot && from.host != nil && from.paused <= s.now {
				from.unfreeze(f.Snapshot, f.Replica.Number, err)
				from.drain()
			}
		})
	}
	fail := func(err error) {
		s.stats.failedFetches++
		n.host.Fetched(f, nil, err)
		ended(err)
	}
	var st shard.Staging
	var next func()
	next = func() {
		frozen := from.frozen[f.Snapshot]
		if from.boot != boot || from.host == nil || frozen == nil || s.cut(from, n) || s.cut(n, from) || s.chance(s.plan.loss) {
			fail(errors.New("the way to the leader is lost"))
			return
		}
		if st == nil {
			var err error
			if st, err = n.disk.Stage(f.Replica, f.At); err != nil {
				fail(err)
				return
			}
		}
		at, done := st.From()
		if done {
			n.host.Fetched(f, st, nil)
			ended(nil)
			return
		}
		c, err := frozen.Chunk(at, 4000)
		if err == nil {
			var kept bool
			if kept, err = st.Keep(c.From, c.To, c.Sum); err == nil && !kept {
				err = st.Put(c)
			}
		}
		if err != nil {
			fail(err)
			return
		}
		n.post(s.delay(), next)
	}
	n.post(s.delay(), next)
}

// promise notes what a replica grants and acknowledges: after that it must not go back to an
// earlier term, nor vote for another one in the same.
func (s *sim) promise(m shard.Message) {
	typ := m.Raft.GetType()
	if m.Raft.GetReject() || typ != raftpb.MsgVoteResp && typ != raftpb.MsgAppResp {
		return
	}
	r := shard.Replica{Shard: m.Shard, Number: m.From}
	was := s.granted[r]
	if term := m.Raft.GetTerm(); term < was.term && s.now == was.at {
		return // what leaves at once goes in no order
	} else if term < was.term {
		s.fail("%v answers %v in term %d, after one in term %d", r, typ, term, was.term)
	} else if term > was.term {
		was = grant{term: term, at: s.now}
	}
	if typ == raftpb.MsgVoteResp {
		if was.to != 0 && was.to != m.To {
			s.fail("%v votes for %d and %d in term %d", r, was.to, m.To, was.term)
		}
		was.to = m.To
	}
	s.granted[r] = was
}

// A grant is a replica's vote in the last term in which it answered.
type grant struct {
	term uint64
	at   time.Duration
	to   shard.Number
}

package client

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/internal/campaign"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A storm plays one channel's outbox against the real home's rules, over sessions that lose,
// delay and refuse.
type storm struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Time
	calm  bool // no new epochs, no long pauses, no final refusals: all must succeed
	view  *memview.View
	home  *channel.Batch
	box   *outbox
	up    []packet   // the session's, on their way
	down  []packet   // answers on their way
	old   [][]packet // of sessions that ended, still on their way
	posts []*post
	log   map[relay.Position]int // what stands, by payload
	drawn byte
}

type packet struct {
	l       *letter
	attempt uint32
	p       relay.Publication
	at      relay.Position
	end     relay.End
}

type post struct {
	id      int
	letter  *letter
	at      relay.Position
	err     error
	decided int
	doubt   bool // cancelled after it was sent
}

var errGaveUp = errors.New("gave up")

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), now: time.UnixMilli(1_700_000_000_000),
		calm: seed%3 == 0, view: memview.New(), home: channel.NewBatch(), log: map[relay.Position]int{},
	}
	s.batch(func() {
		if err := s.home.SetPolicy("demo", channel.Policy{Age: -1}); err != nil {
			t.Fatal(err)
		}
		s.home.Own("demo", 0, relay.Slots-1)
	})
	draw := func() relay.Producer {
		s.drawn++
		return relay.Producer{1, s.drawn}
	}
	s.box = newOutbox("demo:x", draw, s.now)
	return s
}

func (s *storm) batch(fn func()) {
	s.home.Begin(s.view, s.now)
	fn()
	s.home.Commit()
}

func (s *storm) chance(p float64) bool { return s.rng.Float64() < p }

func (s *storm) push() {
	p := &post{id: len(s.posts)}
	body := wire.Message{Payload: strconv.AppendInt(nil, int64(p.id), 10)}
	m := Message{Payload: body.Payload}
	b, err := m.encode(100)
	if err != nil {
		s.t.Fatal(err)
	}
	p.letter = &letter{body: b, result: func(at relay.Position, err error) {
		p.at, p.err = at, err
		p.decided++
	}}
	s.posts = append(s.posts, p)
	s.box.push(p.letter, s.now)
}

// settle tells the callers and checks the outbox's invariants.
func (s *storm) settle() {
	for _, o := range s.box.outcomes {
		o.letter.result(o.at, o.err)
	}
	s.box.outcomes = nil
	flying := 0
	for i, l := range s.box.letters {
		if l.flying {
			flying++
		}
		if numbered := i < s.box.numbered; numbered != (l.n != 0) || numbered && l.n != s.box.base+uint64(i) {
			s.t.Fatalf("letter %d has number %d; base %d, %d numbered", i, l.n, s.box.base, s.box.numbered)
		}
	}
	if b := s.box; flying != b.flight || b.cursor > b.numbered || b.numbered > len(b.letters) || flying > window {
		s.t.Fatalf("flight %d (%d fly), cursor %d, numbered %d of %d", b.flight, flying, b.cursor, b.numbered, len(b.letters))
	}
}

func (s *storm) send() {
	for n := s.rng.IntN(20); n >= 0; n-- {
		l := s.box.next(s.now)
		if l == nil {
			return
		}
		if s.chance(0.05) {
			s.box.unsent(l)
			return
		}
		s.up = append(s.up, packet{l: l, attempt: l.attempt, p: s.box.publication(l, s.now)})
	}
}

// arrive lets one packet reach the edge and, if that passes it, the home.
func (s *storm) arrive(p packet) packet {
	refuse := []relay.Code{relay.Busy, relay.PublishRate, relay.Unavailable, relay.Unknown, relay.GoingAway}
	if !s.calm {
		refuse = append(refuse, relay.Forbidden, relay.TooLarge)
	}
	switch {
	case s.chance(0.03):
		p.end.Code = refuse[s.rng.IntN(len(refuse))]
		return p
	case s.chance(0.02): // applied, but the answer is lost between home and edge
		s.apply(&p)
		p.end = relay.End{Code: relay.Unknown}
		return p
	}
	s.apply(&p)
	return p
}

func (s *storm) apply(p *packet) {
	s.batch(func() { p.at, p.end = s.home.Publish(p.p) })
	if p.end.Code != relay.Done {
		return
	}
	if _, ok := s.log[p.at]; !ok {
		if p.p.Void {
			s.t.Fatalf("a void made message %v", p.at)
		}
		var m wire.Message
		got, err := decode("demo:x", p.at, p.p.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		m.Payload = got.Payload
		id, err := strconv.Atoi(string(m.Payload))
		if err != nil {
			s.t.Fatal(err)
		}
		s.log[p.at] = id
	}
}

func (s *storm) answer(p packet) {
	s.box.answer(p.l, p.attempt, p.at, p.end, s.now, s.rng.Float64())
}

// drop ends the session: what is on its way may still arrive, answers do not, or late.
func (s *storm) drop() {
	if s.chance(0.5) {
		s.old = append(s.old, s.up)
	}
	late := append(s.down, s.up...)
	s.up, s.down = nil, nil
	s.box.lost()
	for _, p := range late {
		p.end = relay.End{Code: relay.Unknown}
		s.answer(p)
	}
}

func (s *storm) cancel() {
	if len(s.posts) == 0 {
		return
	}
	p := s.posts[len(s.posts)-1-s.rng.IntN(min(len(s.posts), 20))]
	if p.letter.told {
		return
	}
	p.doubt = p.letter.inDoubt()
	s.box.cancel(p.letter)
	p.err = errGaveUp
	p.decided++
}

func (s *storm) step(faults bool) {
	s.now = s.now.Add(time.Duration(s.rng.IntN(200)) * time.Millisecond)
	s.send()
	for range s.rng.IntN(25) {
		if len(s.up) > 0 {
			s.down = append(s.down, s.arrive(s.up[0]))
			s.up = s.up[1:]
		}
	}
	for range s.rng.IntN(25) {
		if len(s.down) > 0 {
			s.answer(s.down[0])
			s.down = s.down[1:]
		}
	}
	if len(s.old) > 0 && len(s.old[0]) > 0 && s.chance(0.3) {
		p := s.arrive(s.old[0][0])
		s.old[0] = s.old[0][1:]
		if s.chance(0.3) {
			s.answer(p) // the session was replaced, not lost
		}
	} else if len(s.old) > 0 && s.chance(0.1) {
		s.old = s.old[1:]
	}
	if !faults {
		return
	}
	if s.chance(0.01) {
		s.drop()
	}
	if s.chance(0.02) {
		s.cancel()
	}
	if !s.calm && s.chance(0.002) {
		s.now = s.now.Add(time.Duration(s.rng.IntN(12*60)) * time.Second)
		s.batch(func() { s.home.Expire(1000) })
	}
	if !s.calm && s.chance(0.002) {
		s.batch(func() { s.home.Raise(0, true) })
	}
}

func (s *storm) run(count int) (unknown int) {
	for len(s.posts) < count {
		for range s.rng.IntN(4) {
			s.push()
		}
		s.step(true)
		s.settle()
	}
	for n := 0; !s.box.idle(); n++ {
		if n > 100_000 {
			s.t.Fatalf("never idle: %+v", s.box)
		}
		s.step(false)
		s.settle()
	}
	for _, late := range s.old {
		for _, p := range late {
			s.arrive(p)
		}
	}
	return s.verify()
}

func (s *storm) verify() (unknown int) {
	times := map[int]int{}
	for _, id := range s.log {
		times[id]++
	}
	var last relay.Position
	for _, p := range s.posts {
		switch n := times[p.id]; {
		case p.decided != 1:
			s.t.Errorf("post %d was decided %d times", p.id, p.decided)
		case n > 1:
			s.t.Errorf("post %d stands %d times", p.id, n)
		case p.err == nil && (n != 1 || s.log[p.at] != p.id):
			s.t.Errorf("post %d was acknowledged at %v; there stands %d", p.id, p.at, s.log[p.at])
		case p.err == nil && !last.Before(p.at):
			s.t.Errorf("post %d stands at %v, one before it at %v", p.id, p.at, last)
		case errors.Is(p.err, ErrUnknownOutcome):
			unknown++
		case p.err != nil && !p.doubt && n != 0:
			s.t.Errorf("post %d stands though refused: %v", p.id, p.err)
		}
		if s.calm && p.err != nil && !errors.Is(p.err, errGaveUp) {
			s.t.Errorf("post %d failed without need: %v", p.id, p.err)
		}
		if p.err == nil {
			last = p.at
		}
	}
	return unknown
}

// TestCampaignOutbox plays storms until MERIDIAN_FOR is over.
func TestCampaignOutbox(t *testing.T) {
	seed, length := campaign.Settings(t, 3*time.Second)
	storms, posts, unknown := 0, 0, 0
	for start := time.Now(); time.Since(start) < length && !t.Failed(); storms++ {
		s := newStorm(t, seed+uint64(storms))
		unknown += s.run(500)
		posts += len(s.posts)
		if t.Failed() {
			t.Logf("failed with MERIDIAN_SEED=%d", seed+uint64(storms))
		}
	}
	t.Logf("%d storms, %d posts, %d unknown", storms, posts, unknown)
	if posts > 0 && unknown > posts/10 {
		t.Errorf("%d of %d posts ended unknown: too many to be right", unknown, posts)
	}
}

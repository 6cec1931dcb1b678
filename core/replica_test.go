package core

import (
	"errors"
	"testing"

	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// nothing has no state of any replica, as a store on disk tells it.
type nothing struct{ shard.States }

func (nothing) Read(shard.Replica, bool) shard.Reader { return empty{memview.New()} }

type empty struct{ *memview.View }

func (empty) Err() error { return nil }
func (empty) Close()     {}

// A replica is known before its first state stands, and for a moment after it was removed. What is
// read then is no empty state, of which a subscriber would be told that its namespace is unknown.
func TestStateThatIsNotThere(t *testing.T) {
	members := []Member{{Name: "a", Address: "a:1", Region: "r"}}
	spaces := map[relay.Namespace]Namespace{"demo": {Class: shard.Region, Home: "r"}}
	p, err := newPlan(members, groupsOf(spaces, 1), spaces)
	if err != nil {
		t.Fatal(err)
	}
	local := newLocal("a", nothing{}, p, 1<<20, 10)
	local.fail = func(err error) { t.Errorf("the process ends: %v", err) }
	r := local.open(shard.Replica{Shard: 1, Number: 1})
	d := shard.Descriptor{Shard: 1, Class: shard.Region, Members: []shard.Member{{Number: 1, Node: "a", Role: shard.Voter}}}
	r.view.Store(&shard.Event{Replica: r.id, Role: shard.Leading, Leader: 1, Descriptor: &d})
	sub := local.Subscribe(relay.SubscribeRequest{Channel: "demo:x"}, func() {})
	defer sub.Close()
	frames := sub.Next(nil, 1<<20)
	if len(frames) != 1 || frames[0].Kind != relay.KindEnd || frames[0].End.Code != relay.Unavailable {
		t.Errorf("%+v, want an End that says to come back", frames)
	}
}

// unsettled has a state on which no leader has been yet.
type unsettled struct{ shard.States }

func (unsettled) Read(shard.Replica, bool) shard.Reader {
	v := memview.New()
	shard.WriteApplied(v, shard.Origin)
	return empty{v}
}

func TestNothingIsReadBeforeTheFirstLeader(t *testing.T) {
	r := &replica{id: shard.Replica{Shard: 1, Number: 1}, local: newLocal("a", unsettled{}, nil, 1<<20, 10)}
	v := r.read()
	defer v.Close()
	if !errors.Is(v.Err(), shard.ErrNoReplica) {
		t.Errorf("a state without a floor is read: %v", v.Err())
	}
}

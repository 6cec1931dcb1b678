package shard

import (
	"errors"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// A Host that fails in the midst of its work answers whom it hands to nobody any more.
func TestAFailedHostAnswersWhatItHandsToNobody(t *testing.T) {
	var got []relay.End
	answer := func(_ relay.Position, end relay.End) { got = append(got, end) }
	h := &Host{err: errors.New("the disk is gone")}
	h.out.Applies = []*Apply{{Replica: Replica{Shard: 1, Number: 1}, proposals: []*proposal{nil, {answers: []Answer{answer, answer}}}}}
	if w := h.Take(); len(w.Applies) > 0 {
		t.Error("it hands on what it should not")
	}
	h.Take()
	if len(got) != 2 || got[0].Code != relay.Unknown {
		t.Errorf("answers are %+v", got)
	}
}

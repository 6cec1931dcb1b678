package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// TestAcksKeepOrder: answers come in any order, and are printed in that of publishing up to the
// first refusal.
func TestAcksKeepOrder(t *testing.T) {
	var out strings.Builder
	ctx, stop := context.WithCancelCause(t.Context())
	a := newAcks(&out, text, time.NewTimer(time.Hour), stop)
	var k [6]*ack
	for i := range k {
		k[i] = a.expect()
	}
	refused := errors.New("refused")
	for _, i := range []int{5, 1, 4} {
		a.answer(k[i], relay.Position{Epoch: 1, Seq: relay.Seq(i)}, nil)
	}
	a.answer(k[2], relay.Position{}, refused)
	a.forget(k[3])
	a.answer(k[0], relay.Position{Epoch: 1, Seq: 0}, nil)
	printed, err := a.close()
	if out.String() != "1:0\n1:1\n" || printed != 2 {
		t.Errorf("printed %d: %q", printed, out.String())
	}
	if !errors.Is(err, refused) || err.Error() != "refused (2 messages after it were acknowledged)" {
		t.Errorf("error %v", err)
	}
	if ctx.Err() == nil {
		t.Error("publishing goes on after a refusal")
	}
}

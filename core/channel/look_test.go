package channel_test

import (
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/memview"
	"github.com/meridian-relay/meridian/relay"
)

func TestLook(t *testing.T) {
	v, b := memview.New(), channel.NewBatch()
	b.Begin(v, time.UnixMilli(1000))
	b.Raise(7, false)
	policy := channel.Policy{Age: -1, Count: 5}
	if err := b.SetPolicy("n", policy); err != nil {
		t.Fatal(err)
	}
	b.Own("n", 0, relay.Slots-1)
	b.Commit()
	if f := channel.Floor(v); f != 7 {
		t.Errorf("floor %d", f)
	}
	if defined, same := channel.Defined(v, "n", policy); !defined || !same {
		t.Error("the policy is not the one that was set")
	}
	if defined, same := channel.Defined(v, "n", channel.Policy{}); !defined || same {
		t.Error("another policy is said to be in force")
	}
	if defined, _ := channel.Defined(v, "m", policy); defined {
		t.Error("m is not defined")
	}
	for ns, o := range channel.Owns(v) {
		if ns != "n" || o.Slots != relay.Slots || o.Pins != 0 {
			t.Error(ns, o)
		}
	}
}

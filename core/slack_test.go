package core

import (
	"runtime"
	"testing"
)

// Garbage is not collected before there is as much as Slack says.
func TestSlack(t *testing.T) {
	c := single(t)
	c.Slack, c.Ballast = 256<<20, -1
	n, err := NewNode(c)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var garbage []byte
	for range c.Slack / 2 >> 20 {
		garbage = make([]byte, 1<<20)
	}
	runtime.KeepAlive(garbage)
	runtime.ReadMemStats(&after)
	if got := after.NumGC - before.NumGC; got > 0 {
		t.Errorf("%d collections while half of what may gather was made; want none", got)
	}
}

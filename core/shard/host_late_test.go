package shard_test

import (
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
)

// A leader whose clock is behind the log's time trims all the same: else a disk fills for as long
// as that is so.
func TestRetentionKeepsPaceBehindTheLogsTime(t *testing.T) {
	d := newDrive(t, "a", "b", "c")
	leader := d.three()
	const most = 10
	policy := shard.Command{Policy: &shard.PolicyChange{Namespace: "demo", Policy: channel.Policy{Count: most}}}
	leader.host.Propose(1, []shard.Command{policy}, func(err error) { must(t, err) })
	d.run()
	leader.acked("demo:x", "one")
	d.now = d.now.Add(-time.Hour)
	for range 20 * most {
		leader.acked("demo:x", "more")
		d.ticks(1)
	}
	d.ticks(40)
	st, _ := leader.host.Status(1)
	v := leader.store.Read(st.Replica, false)
	defer v.Close()
	info, _ := channel.Inspect(v, "demo:x")
	if info.Count < most || info.Count > 2*most {
		t.Errorf("%d messages are kept, want about %d", info.Count, most)
	}
	looks := leader.upkeeps
	d.ticks(200)
	if leader.upkeeps > looks+20 {
		t.Errorf("retention looks all the time: %d times", leader.upkeeps-looks)
	}
	d.same()
}

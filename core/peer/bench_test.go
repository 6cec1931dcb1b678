package peer

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// BenchmarkBulk sends appends of a hundred entries of 1 KB, with 8 MiB on the way.
func BenchmarkBulk(b *testing.B) {
	s := newStage(b)
	got := make(chan int, 1<<16)
	x := s.play("a", setup{})
	s.play("b", setup{edit: func(c *Config) {
		c.Receive = func(_ shard.Node, list []shard.Message) { got <- len(list) }
	}})
	typ, index := raftpb.MsgApp, uint64(1)
	m := shard.Message{Shard: 3, From: 1, To: 2, Raft: &raftpb.Message{Type: &typ}}
	for range 100 {
		m.Raft.Entries = append(m.Raft.Entries, &raftpb.Entry{Index: &index, Term: &index, Data: make([]byte, 1024)})
	}
	send := shard.Send{To: "b", Bulk: []shard.Message{m}}
	x.peers.Send(send)
	<-got
	b.SetBytes(100 * 1024)
	b.ReportAllocs()
	b.ResetTimer()
	for sent, arrived := 0, 0; arrived < b.N; {
		for sent < b.N && sent-arrived < 80 {
			x.peers.Send(send)
			sent++
		}
		arrived += <-got
	}
}

// BenchmarkRoundTrip is an urgent message and its answer, one at a time.
func BenchmarkRoundTrip(b *testing.B) {
	s := newStage(b)
	back := make(chan struct{}, 1)
	x := s.play("a", setup{edit: func(c *Config) {
		c.Receive = func(shard.Node, []shard.Message) { back <- struct{}{} }
	}})
	var y *player
	ready := make(chan struct{})
	m := numbered(1, 0)
	y = s.play("b", setup{edit: func(c *Config) {
		c.Receive = func(shard.Node, []shard.Message) {
			<-ready
			y.peers.Send(shard.Send{To: "a", Urgent: []shard.Message{m}})
		}
	}})
	close(ready)
	trip := func() {
		x.peers.Send(shard.Send{To: "b", Urgent: []shard.Message{m}})
		<-back
	}
	trip()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		trip()
	}
}

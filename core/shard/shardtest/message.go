package shardtest

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

// Entries returns a leader's message with an entry of so many bytes, for those who carry messages.
func Entries(id shard.ID, bytes int) shard.Message {
	return shard.Message{Shard: id, From: 1, To: 2, Raft: &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), From: new(uint64(1)), To: new(uint64(2)),
		Entries: []*raftpb.Entry{{Index: new(uint64(1)), Term: new(uint64(1)), Data: make([]byte, bytes)}},
	}}
}

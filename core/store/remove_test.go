package store

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/shard"
)

// A crash between the halves of a removal: the state's half is made up for.
func TestRemovedStateGoes(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s, _ := run(t, testConfig(disk))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, s, &shard.Write{Replica: one, Remove: true, Sync: true})
	s, _ = run(t, testConfig(crashed(disk)))
	it, err := s.state.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	if it.First() {
		t.Errorf("key %x of a removed replica is there", it.Key())
	}
}

// A removed replica's number is never used again: who tries has lost track, and must end.
func TestRemovedNumberIsRefused(t *testing.T) {
	s, _ := run(t, testConfig(vfs.NewMem()))
	mustWrite(t, s, &shard.Write{Replica: one, Create: true, Genesis: genesis(1), Sync: true})
	mustWrite(t, s, &shard.Write{Replica: one, Remove: true, Sync: true})
	err := write(t, s, &shard.Write{Replica: one, Create: true, Sync: true})
	if err == nil || !strings.Contains(err.Error(), "s1/1, which was removed") {
		t.Errorf("made again: %v", err)
	}
}

// The bytes on the disk are fixed.
func TestGolden(t *testing.T) {
	e := entry(300, 5, "data")
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{appendEntryKey(nil, shard.Replica{Shard: 2, Number: 3}, 300), "0000000000000002000000000000000305000000000000012c"},
		{append(appendEntryHead(nil, e), e.GetData()...), "01050064617461"},
		{appendHard(nil, hard(300, 2, 1)), "01ac020201"},
		{appendPlace(nil, shard.Place{Index: 300, Term: 7}), "01ac0207"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// Whatever stands in a record, reading it tells or gives what writes it again.
func FuzzRecords(f *testing.F) {
	f.Add(appendHard(nil, hard(300, 2, 1)))
	f.Add([]byte("\x01\x05\x00data"))
	f.Add([]byte("meridian store 1\nfleet f\nnode n\nstore 00112233445566778899aabbccddeeff\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, r := readHard(b); !r.bad {
			if again, _ := readHard(appendHard(nil, h)); !proto.Equal(h, again) {
				t.Errorf("hard state %v became %v", h, again)
			}
		}
		if p, r := readPlace(b); !r.bad {
			if again, _ := readPlace(appendPlace(nil, p)); again != p {
				t.Errorf("place %v became %v", p, again)
			}
		}
		if e, r := readEntry(7, b); !r.bad && !bytes.HasSuffix(b, e.GetData()) {
			t.Errorf("entry %v of %x", e, b)
		}
		parseIdentity(b)
		checkBlock(b, 0, 1)
	})
}

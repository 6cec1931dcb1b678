package shardtest

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/core/shard"
)

func (s *suite) create() {
	if _, err := s.Info(one); !errors.Is(err, shard.ErrNoReplica) {
		s.Fatalf("info of a replica that was not made: %v", err)
	}
	s.make(one)
	s.stands(one, shard.Origin)
	s.has(one, false, 1, "")
	s.has(one, true, 1, "")
	rd := s.Read(one, false)
	if d, ok := shard.ReadDescriptor(rd); !ok || d.Shard != 7 || d.Version != 1 || d.Next != 2 || d.Member(1) == nil {
		s.Errorf("descriptor %+v", d)
	}
	rd.Close()
	s.do(&shard.Write{Replica: one, Entries: entries(2, 4, 2), Hard: hard(2, 1, 3)})
	s.make(one) // it stays as it is
	s.stands(one, shard.Origin, 2, 2, 2)
	s.reboot()
	s.stands(one, shard.Origin, 2, 2, 2)
	s.has(one, true, 1, "")
	info, _ := s.Info(one)
	if !proto.Equal(info.Hard, hard(2, 1, 3)) {
		s.Errorf("hard state %v", info.Hard)
	}
	two := shard.Replica{Shard: 7, Number: 2} // without state, in the place of the first
	s.do(&shard.Write{Replica: two, Create: true})
	s.stands(two, shard.Place{})
	s.has(two, false, 0, "")
	if _, err := s.Info(one); !errors.Is(err, shard.ErrRemoved) {
		s.Errorf("info of a replica that another took the place of: %v", err)
	}
}

func (s *suite) remove() {
	s.make(one)
	other := shard.Replica{Shard: 8, Number: 1}
	s.make(other)
	s.do(&shard.Write{Replica: one, Entries: entries(2, 4, 2)})
	s.set(one, 4, "k1", "a")
	s.do(&shard.Write{Replica: one, Remove: true})
	check := func() {
		s.Helper()
		if _, err := s.Info(one); !errors.Is(err, shard.ErrRemoved) {
			s.Errorf("info: %v", err)
		}
		if _, err := s.Entries(one, 2, 3, 100); !errors.Is(err, shard.ErrRemoved) && !errors.Is(err, shard.ErrNoReplica) {
			s.Errorf("entries: %v", err)
		}
		rd := s.Read(one, false)
		defer rd.Close()
		if _, ok := shard.ReadApplied(rd); ok || dump(rd) != "" {
			s.Errorf("the state of a removed replica is there")
		}
		s.stands(other, shard.Origin)
		s.has(other, false, 1, "")
	}
	check()
	s.reboot()
	check()
	if err := s.Write(&shard.Write{Replica: one, Create: true, Sync: true}); !errors.Is(err, shard.ErrRemoved) {
		s.Fatalf("a number was used again: %v", err)
	}
	next := shard.Replica{Shard: 7, Number: 2}
	s.do(&shard.Write{Replica: next, Create: true})
	s.stands(next, shard.Place{})
	s.has(next, false, 0, "")
}

func (s *suite) entries() {
	s.make(one)
	s.do(&shard.Write{Replica: one, Entries: entries(2, 3, 2)})
	s.do(&shard.Write{Replica: one, Entries: entries(4, 5, 3), Hard: hard(3, 1, 2)})
	s.stands(one, shard.Origin, 2, 2, 3, 3)
	info, _ := s.Info(one)
	if info.Bytes < 40 || info.Bytes > 400 {
		s.Errorf("a log of 40 bytes of data counts %d", info.Bytes)
	}
	s.do(&shard.Write{Replica: one, Hard: hard(4, 0, 4)})
	s.reboot()
	s.stands(one, shard.Origin, 2, 2, 3, 3)
	info, _ = s.Info(one)
	if !proto.Equal(info.Hard, hard(4, 0, 4)) {
		s.Errorf("hard state %v", info.Hard)
	}
}

func (s *suite) overwrite() {
	s.make(one)
	s.do(&shard.Write{Replica: one, Entries: entries(2, 9, 2)})
	s.do(&shard.Write{Replica: one, Entries: entries(5, 6, 3)})
	s.stands(one, shard.Origin, 2, 2, 2, 3, 3)
	s.reboot()
	s.stands(one, shard.Origin, 2, 2, 2, 3, 3)
	s.do(&shard.Write{Replica: one, Entries: entries(2, 2, 4)})
	s.stands(one, shard.Origin, 4)
	s.do(&shard.Write{Replica: one, Entries: entries(3, 5, 4)})
	s.reboot()
	s.stands(one, shard.Origin, 4, 4, 4, 4)
}

func (s *suite) truncate() {
	s.make(one)
	s.do(&shard.Write{Replica: one, Entries: entries(2, 9, 2)})
	s.set(one, 9, "k1", "a")
	if err := s.Flush(); err != nil {
		s.Fatal(err)
	}
	s.do(&shard.Write{Replica: one, Trunc: shard.Place{Index: 6, Term: 2}})
	at := shard.Place{Index: 6, Term: 2}
	s.stands(one, at, 2, 2, 2)
	if _, err := s.Entries(one, 6, 8, 100); !errors.Is(err, shard.ErrTruncated) {
		s.Errorf("entries that were truncated: %v", err)
	}
	if _, err := s.Term(one, 5); !errors.Is(err, shard.ErrTruncated) {
		s.Errorf("the term of an entry that was truncated: %v", err)
	}
	s.do(&shard.Write{Replica: one, Trunc: shard.Place{Index: 4, Term: 2}}) // nothing
	s.do(&shard.Write{Replica: one, Entries: entries(10, 11, 2)})
	s.reboot()
	s.stands(one, at, 2, 2, 2, 2, 2)
	s.set(one, 11, "k1", "b")
	if err := s.Flush(); err != nil {
		s.Fatal(err)
	}
	at = shard.Place{Index: 11, Term: 2}
	s.do(&shard.Write{Replica: one, Trunc: at})
	s.stands(one, at)
	s.reboot()
	s.stands(one, at)
	s.do(&shard.Write{Replica: one, Entries: entries(12, 12, 3)})
	s.stands(one, at, 3)
}

func (s *suite) limits() {
	s.make(one)
	for i := uint64(2); i < 12; i++ {
		s.do(&shard.Write{Replica: one, Entries: append(entries(0, 0, 0)[:0], entry(i, 2, 1000))})
	}
	for _, c := range []struct {
		lo, hi, max uint64
		least, most int
	}{
		{2, 12, 1 << 30, 10, 10}, {2, 12, 0, 1, 1}, {2, 12, 1, 1, 1}, {3, 4, 1 << 20, 1, 1}, {2, 12, 3500, 2, 4},
	} {
		got, err := s.Entries(one, c.lo, c.hi, c.max)
		if err != nil || len(got) < c.least || len(got) > c.most || got[0].GetIndex() != c.lo {
			s.Errorf("entries %d to %d, %d bytes: %d of them, %v", c.lo, c.hi, c.max, len(got), err)
		}
	}
}

func (s *suite) crash() {
	s.make(one)
	s.do(&shard.Write{Replica: one, Entries: entries(2, 5, 2), Hard: hard(2, 1, 4)})
	s.set(one, 3, "k1", "a", "k2", "b")
	if err := s.Flush(); err != nil {
		s.Fatal(err)
	}
	s.set(one, 4, "k1", "c")
	s.set(one, 5, "k2", "", "k3", "d")
	s.has(one, false, 5, "k1=c k3=d ")
	// What was not synced and not flushed may be gone, but not in part.
	if err := s.Write(&shard.Write{Replica: one, Entries: entries(6, 7, 3), Hard: hard(3, 0, 4)}); err != nil {
		s.Fatal(err)
	}
	s.reboot()
	rd := s.Read(one, false)
	at, _ := shard.ReadApplied(rd)
	rd.Close()
	want := map[uint64]string{3: "k1=a k2=b ", 4: "k1=c k2=b ", 5: "k1=c k3=d "}
	if want[at.Index] == "" {
		s.Fatalf("the state stands at %d", at.Index)
	}
	s.has(one, false, at.Index, want[at.Index])
	s.has(one, true, at.Index, want[at.Index])
	info, _ := s.Info(one)
	switch info.Last.Index {
	case 5:
		s.stands(one, shard.Origin, 2, 2, 2, 2)
	default:
		s.stands(one, shard.Origin, 2, 2, 2, 2, 3, 3)
	}
	if synced := info.Last.Index == 5; synced != (info.Hard.GetTerm() == 2) {
		s.Errorf("log to %d, hard state %v: half of a write", info.Last.Index, info.Hard)
	}
	s.reboot() // again, at once
	s.has(one, false, at.Index, want[at.Index])
}

func (s *suite) replicas() {
	var all []shard.Replica
	for i := range 20 {
		all = append(all, shard.Replica{Shard: shard.ID(i*200 + 1), Number: shard.Number(i%3 + 1)})
	}
	for i, r := range all {
		s.make(r)
		s.do(&shard.Write{Replica: r, Entries: entries(2, uint64(i)+2, 2)})
		s.set(r, uint64(i)+2, "k", r.String())
	}
	if err := s.Flush(); err != nil {
		s.Fatal(err)
	}
	s.do(&shard.Write{Replica: all[3], Remove: true})
	s.do(&shard.Write{Replica: all[5], Trunc: shard.Place{Index: 7, Term: 2}})
	s.reboot()
	for i, r := range all {
		info, err := s.Info(r)
		if i == 3 {
			if !errors.Is(err, shard.ErrRemoved) {
				s.Errorf("info of %v: %v", r, err)
			}
			continue
		}
		if err != nil || info.Last.Index != uint64(i)+2 {
			s.Errorf("%v ends at %d, %v; want %d", r, info.Last.Index, err, i+2)
		}
		s.has(r, false, uint64(i)+2, "k="+r.String()+" ")
	}
}

package shardtest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/meridian-relay/meridian/core/shard"
)

func (s *suite) batch() {
	s.make(one)
	s.set(one, 2, "k1", "a", "k3", "c", "k5", "e")
	b := s.Begin(one)
	b.Set([]byte("k2"), []byte("b"))
	b.Set([]byte("k3"), []byte("x"))
	b.Delete([]byte("k5"))
	b.Delete([]byte("k9"))
	key := []byte("k4") // the batch copies keys
	b.Set(key, []byte("d"))
	key[1] = '7'
	if v, ok := b.Get([]byte("k3")); !ok || string(v) != "x" {
		s.Errorf("a batch does not read what it wrote: %q", v)
	}
	if _, ok := b.Get([]byte("k5")); ok {
		s.Error("a batch reads what it deleted")
	}
	if v, ok := b.Get([]byte("k1")); !ok || string(v) != "a" {
		s.Errorf("a batch does not read what stood there: %q", v)
	}
	if got, want := dump(b), "k1=a k2=b k3=x k4=d "; got != want {
		s.Errorf("a batch ascends %q, want %q", got, want)
	}
	var down []string
	for k := range b.Descend([]byte("k2"), []byte("k5")) {
		down = append(down, string(k))
	}
	if got := fmt.Sprint(down); got != "[k4 k3 k2]" {
		s.Errorf("a batch descends %v", got)
	}
	s.has(one, false, 2, "k1=a k3=c k5=e ") // nothing is visible yet
	if err := b.Commit(); err != nil {
		s.Fatal(err)
	}
	b.Close()
	s.has(one, false, 2, "k1=a k2=b k3=x k4=d ")
	b = s.Begin(one)
	b.Set([]byte("k1"), []byte("given up"))
	b.Close()
	s.has(one, false, 2, "k1=a k2=b k3=x k4=d ")
}

// order reads in the order of keys, bounds and stops included.
func (s *suite) order() {
	s.make(one)
	s.set(one, 2, "k", "0", "k\x00", "1", "k\x00\xff", "2", "k\xff", "3", "k\xff\xff", "4", "ka", "5")
	rd := s.Read(one, false)
	defer rd.Close()
	for _, c := range []struct{ from, to, up string }{
		{"k", "l", "012534"}, {"k\x00", "ka", "12"}, {"k\x01", "k\xff", "5"}, {"ka", "ka", ""}, {"l", "m", ""},
		{"k\xff", "k\xff\xff", "3"}, {"k", "k\x00", "0"},
	} {
		up, down := "", ""
		for _, v := range rd.Ascend([]byte(c.from), []byte(c.to)) {
			up += string(v)
		}
		for _, v := range rd.Descend([]byte(c.from), []byte(c.to)) {
			down = string(v) + down
		}
		if up != c.up || down != c.up {
			s.Errorf("%q to %q: up %s, down (turned) %s, want %s", c.from, c.to, up, down, c.up)
		}
	}
	for k := range rd.Ascend([]byte("k"), []byte("l")) {
		if string(k) != "k" {
			s.Errorf("first is %q", k)
		}
		break
	}
	for range rd.Ascend([]byte{0}, []byte{0, 1}) {
		s.Error("something stands before the first key")
	}
}

func (s *suite) isolation() {
	s.make(one)
	s.set(one, 2, "k1", "a", "k2", "b")
	rd := s.Read(one, false)
	v, _ := rd.Get([]byte("k1"))
	s.set(one, 3, "k1", "c", "k2", "", "k3", "d")
	if got := dump(rd); got != "k1=a k2=b " || string(v) != "a" {
		s.Errorf("a reader sees %q after a commit, and %q", got, v)
	}
	if w, ok := rd.Get([]byte("k2")); !ok || string(w) != "b" {
		s.Errorf("a reader gets %q after a commit", w)
	}
	if at, _ := shard.ReadApplied(rd); at.Index != 2 {
		s.Errorf("a reader stands at %d after a commit", at.Index)
	}
	for k, v := range rd.Ascend([]byte("k"), []byte("l")) {
		// What was lent stays until Close.
		for range rd.Ascend([]byte("k"), []byte("l")) {
		}
		if string(k) != "k1" || string(v) != "a" {
			s.Errorf("a reader lent %q=%q", k, v)
		}
		break
	}
	rd.Close()
	s.has(one, false, 3, "k1=c k3=d ")
}

func (s *suite) durable() {
	s.make(one)
	s.set(one, 2, "k1", "a")
	if err := s.Flush(); err != nil {
		s.Fatal(err)
	}
	s.has(one, true, 2, "k1=a ")
	s.set(one, 3, "k1", "b")
	s.has(one, false, 3, "k1=b ")
	rd := s.Read(one, true)
	at, _ := shard.ReadApplied(rd)
	rd.Close()
	s.do(&shard.Write{Replica: one, Entries: entries(2, 3, 2)})
	s.reboot()
	now := s.Read(one, false)
	defer now.Close()
	if got, _ := shard.ReadApplied(now); got.Index < at.Index {
		s.Errorf("after a crash the state stands at %d, where %d was durable", got.Index, at.Index)
	}
}

// fetch stages what a frozen state has, in chunks of size bytes, keeping what is there already.
func (s *suite) fetch(f shard.Frozen, st shard.Staging, size int) (kept, put int) {
	s.Helper()
	for {
		from, done := st.From()
		if done {
			return kept, put
		}
		c, err := f.Chunk(from, size)
		if err != nil {
			s.Fatal(err)
		}
		if c.Hash() != c.Sum {
			s.Fatalf("chunk from %x has sum %x, says %x", from, c.Hash(), c.Sum)
		}
		ok, err := st.Keep(c.From, c.To, c.Sum)
		if err != nil {
			s.Fatal(err)
		}
		if ok {
			kept++
			continue
		}
		if err := st.Put(c); err != nil {
			s.Fatal(err)
		}
		put++
	}
}

// fill makes a replica with many keys, at index 5.
func (s *suite) fill(r shard.Replica) {
	s.Helper()
	s.make(r)
	s.do(&shard.Write{Replica: r, Entries: entries(2, 5, 2), Hard: hard(2, 1, 5)})
	b := s.Begin(r)
	defer b.Close()
	for i := range 2000 {
		b.Set(fmt.Appendf(nil, "k%04d", i), bytes.Repeat([]byte{byte(i)}, i%700))
	}
	shard.WriteApplied(b, shard.Place{Index: 5, Term: 2})
	if err := b.Commit(); err != nil {
		s.Fatal(err)
	}
}

// all returns a sum over a replica's whole state.
func (s *suite) all(r shard.Replica) (sum uint64, n int) {
	s.Helper()
	rd := s.Read(r, false)
	defer rd.Close()
	var h shard.Summer
	h.Reset()
	for k, v := range rd.Ascend([]byte{0}, pastAll) {
		h.Add(k, v)
		n++
	}
	if rd.Err() != nil {
		s.Fatal(rd.Err())
	}
	return h.Sum(), n
}

var (
	source = shard.Replica{Shard: 7, Number: 1}
	target = shard.Replica{Shard: 9, Number: 4}
)

func (s *suite) snapshot() {
	s.fill(source)
	want, n := s.all(source)
	f, err := s.Freeze(source)
	if err != nil {
		s.Fatal(err)
	}
	at := shard.Place{Index: 5, Term: 2}
	if f.At() != at || f.Descriptor().Shard != 7 {
		s.Errorf("frozen at %v, %+v", f.At(), f.Descriptor())
	}
	s.set(source, 6, "k0001", "changed", "k0002", "", "kk", "new")
	s.do(&shard.Write{Replica: target, Create: true})
	st, err := s.Stage(target, at)
	if err != nil {
		s.Fatal(err)
	}
	if st.At() != at {
		s.Errorf("staged for %v", st.At())
	}
	kept, put := s.fetch(f, st, 10_000)
	f.Close()
	if kept > 0 || put < 20 {
		s.Errorf("%d chunks kept, %d put; %d keys", kept, put, n)
	}
	s.do(&shard.Write{Replica: target, Staged: st, Hard: hard(3, 0, 5)})
	check := func() {
		s.Helper()
		if got, m := s.all(target); got != want || m != n {
			s.Errorf("what was taken in has %d keys, sum %x; want %d, %x", m, got, n, want)
		}
		s.stands(target, at)
	}
	check()
	s.reboot()
	check()
	s.do(&shard.Write{Replica: target, Entries: entries(6, 7, 3)})
	s.set(target, 6, "k0003", "goes on")
	s.reboot()
	s.stands(target, at, 3, 3)
}

// keep takes what did not change from the state before, and replaces the rest and the log.
func (s *suite) keep() {
	s.fill(source)
	s.fill(target)
	s.set(target, 5, "k1000", "changed", "k1001", "", "k10001", "more", "l", "beyond")
	want, n := s.all(source)
	f, err := s.Freeze(source)
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	at := shard.Place{Index: 5, Term: 2}
	st, err := s.Stage(target, at)
	if err != nil {
		s.Fatal(err)
	}
	kept, put := s.fetch(f, st, 10_000)
	if kept < 10 || put == 0 || put > 6 {
		s.Errorf("%d chunks kept, %d put", kept, put)
	}
	s.do(&shard.Write{Replica: target, Staged: st, Hard: hard(9, 0, 5), Entries: entries(6, 6, 9)})
	if got, m := s.all(target); got != want || m != n {
		s.Errorf("what was taken in has %d keys, sum %x; want %d, %x", m, got, n, want)
	}
	s.stands(target, at, 9)
	s.reboot()
	if got, m := s.all(target); got != want || m != n {
		s.Errorf("after a crash it has %d keys, sum %x; want %d, %x", m, got, n, want)
	}
	s.stands(target, at, 9)
}

func (s *suite) refuse() {
	s.fill(source)
	f, err := s.Freeze(source)
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	s.do(&shard.Write{Replica: target, Create: true})
	st, err := s.Stage(target, f.At())
	if err != nil {
		s.Fatal(err)
	}
	first, err := f.Chunk(nil, 5_000)
	if err != nil {
		s.Fatal(err)
	}
	bad := first
	bad.Sum++
	if st.Put(bad) == nil {
		s.Error("a chunk with another sum was taken")
	}
	second, err := f.Chunk(first.To, 5_000)
	if err != nil {
		s.Fatal(err)
	}
	if st.Put(second) == nil {
		s.Error("a chunk was taken out of turn")
	}
	if ok, err := st.Keep(first.From, first.To, first.Sum); ok || err != nil {
		s.Errorf("an empty state kept a chunk: %v", err)
	}
	if from, done := st.From(); len(from) != 0 || done {
		s.Errorf("goes on at %x, %v", from, done)
	}
	if err := s.Write(&shard.Write{Replica: target, Staged: st, Sync: true}); err == nil {
		s.Error("half a state was taken in")
	}
}

// ahead: a crash between taking a state in and its log.
func (s *suite) ahead() {
	s.make(one)
	s.do(&shard.Write{Replica: one, Entries: entries(2, 3, 2), Hard: hard(2, 1, 3)})
	s.set(one, 20, "k1", "a")
	if err := s.Flush(); err != nil {
		s.Fatal(err)
	}
	s.reboot()
	at := shard.Place{Index: 20, Term: 2}
	s.stands(one, at)
	info, _ := s.Info(one)
	if info.Hard.GetCommit() < 20 || info.Hard.GetTerm() < 2 || info.Hard.GetTerm() == 2 && info.Hard.GetVote() != 1 {
		s.Errorf("hard state %v behind the state", info.Hard)
	}
	s.do(&shard.Write{Replica: one, Entries: entries(21, 22, 3), Hard: hard(3, 0, 20)})
	s.stands(one, at, 3, 3)
	s.reboot()
	s.stands(one, at, 3, 3)
}

func (s *suite) busy() {
	s.fill(source)
	var open []shard.Frozen
	var err error
	for range 100 {
		var f shard.Frozen
		if f, err = s.Freeze(source); err != nil {
			break
		}
		open = append(open, f)
	}
	if !errors.Is(err, shard.ErrBusy) {
		s.Errorf("after %d frozen states: %v", len(open), err)
	}
	for _, f := range open {
		f.Close()
	}
	f, err := s.Freeze(source)
	if err != nil {
		s.Fatal(err)
	}
	f.Close()
	if _, err := s.Freeze(target); err == nil {
		s.Error("a replica that is not there was frozen")
	}
}

// many writes as a node does, and crashes again and again.
func (s *suite) many() {
	s.make(one)
	index := uint64(1)
	for round := range 5 {
		for range 50 {
			index++
			s.do(&shard.Write{Replica: one, Entries: entries(index, index, 2)})
			s.set(one, index, fmt.Sprintf("k%d", index%17), fmt.Sprint(index))
		}
		if round == 3 {
			if err := s.Flush(); err != nil {
				s.Fatal(err)
			}
		}
		s.reboot()
		info, err := s.Info(one)
		if err != nil || info.Last.Index != index {
			s.Fatalf("log to %d, %v; want %d", info.Last.Index, err, index)
		}
		rd := s.Read(one, false)
		at, ok := shard.ReadApplied(rd)
		rd.Close()
		if !ok || at.Index > index || round >= 3 && at.Index < 201 {
			s.Fatalf("state at %v of %d", at, index)
		}
		for i := at.Index + 1; i <= index; i++ { // apply again what the state lacks
			s.set(one, i, fmt.Sprintf("k%d", i%17), fmt.Sprint(i))
		}
		rd = s.Read(one, false)
		if v, _ := rd.Get(fmt.Appendf(nil, "k%d", index%17)); string(v) != fmt.Sprint(index) {
			s.Errorf("the last value is %q, want %d", v, index)
		}
		rd.Close()
	}
}

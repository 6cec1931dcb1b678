package shard

import (
	"errors"
	"fmt"
	"log/slog"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// Bounds of the entries that are kept in memory beside the log, of one replica and of all.
const (
	maxTail     = 1 << 20
	maxTailHost = 64 << 20
)

// entryCost is what an entry takes beside its data.
const entryCost = 64

func costOf(e *raftpb.Entry) uint64 { return entryCost + uint64(len(e.GetData())) }

// A logView is a replica's log as raft sees it: as it was handed out to be written. What is not
// durable yet raft has itself, and does not ask for.
type logView struct {
	r     *replica
	hard  *raftpb.HardState // at the start
	trunc Place
	last  Place
	bytes uint64 // of entries, about

	// Invariant: tail is consecutive and ends at last, or is empty.
	tail      []*raftpb.Entry
	tailBytes uint64
}

var _ raft.Storage = (*logView)(nil)

// A storeError is an error of the store that raft stumbled over.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

func (l *logView) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	if l.r.descriptor == nil {
		return l.hard, &raftpb.ConfState{}, nil
	}
	return l.hard, l.r.descriptor.ConfState(), nil
}

func (l *logView) FirstIndex() (uint64, error) { return l.trunc.Index + 1, nil }
func (l *logView) LastIndex() (uint64, error)  { return l.last.Index, nil }

func (l *logView) Term(i uint64) (uint64, error) {
	switch {
	case i == l.last.Index:
		return l.last.Term, nil
	case i == l.trunc.Index:
		return l.trunc.Term, nil
	case i < l.trunc.Index:
		return 0, raft.ErrCompacted
	case i > l.last.Index:
		return 0, raft.ErrUnavailable
	}
	if first := l.tailFirst(); i >= first {
		return l.tail[i-first].GetTerm(), nil
	}
	term, err := l.r.h.cfg.Log.Term(l.r.id, i)
	if err != nil {
		return 0, l.failed("read term", i, err)
	}
	return term, nil
}

// tailFirst is the index of the first entry in memory, or after the last.
func (l *logView) tailFirst() uint64 { return l.last.Index + 1 - uint64(len(l.tail)) }

func (l *logView) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	if lo <= l.trunc.Index {
		return nil, raft.ErrCompacted
	}
	if hi > l.last.Index+1 {
		return nil, raft.ErrUnavailable
	}
	first := l.tailFirst()
	if lo < first {
		list, err := l.r.h.cfg.Log.Entries(l.r.id, lo, min(hi, first), maxSize)
		if err != nil {
			return nil, l.failed("read entries", lo, err)
		}
		return list, nil
	}
	var size uint64
	n := lo
	for ; n < hi; n++ {
		size += costOf(l.tail[n-first])
		if size > maxSize && n > lo {
			break
		}
	}
	return append([]*raftpb.Entry(nil), l.tail[lo-first:n-first]...), nil
}

func (l *logView) failed(what string, index uint64, err error) error {
	if errors.Is(err, ErrTruncated) {
		return raft.ErrCompacted
	}
	err = fmt.Errorf("%v: %s %d: %w", l.r.id, what, index, err)
	l.r.h.fail(err)
	return &storeError{err}
}

func (l *logView) Snapshot() (*raftpb.Snapshot, error) { return l.r.snapshot() }

// append takes entries that are handed out to be written.
func (l *logView) append(list []*raftpb.Entry) {
	if len(list) == 0 {
		return
	}
	if from := list[0].GetIndex(); from <= l.last.Index {
		l.cut(from)
	}
	for _, e := range list {
		l.tail = append(l.tail, e)
		l.grow(costOf(e))
	}
	last := list[len(list)-1]
	l.last = Place{last.GetIndex(), last.GetTerm()}
	for l.tailBytes > maxTail || (l.r.h.tail > maxTailHost && len(l.tail) > 0) {
		l.drop(l.tailFirst())
	}
}

func (l *logView) grow(n uint64) {
	l.tailBytes += n
	l.bytes += n
	l.r.h.tail += n
}

// cut removes entries from an index on, that are overwritten.
func (l *logView) cut(from uint64) {
	first := l.tailFirst()
	keep := uint64(0)
	if from > first {
		keep = from - first
	}
	for _, e := range l.tail[min(keep, uint64(len(l.tail))):] {
		n := costOf(e)
		l.tailBytes -= n
		l.r.h.tail -= n
		l.bytes -= min(n, l.bytes)
	}
	clear(l.tail[min(keep, uint64(len(l.tail))):])
	l.tail = l.tail[:min(keep, uint64(len(l.tail)))]
	l.last.Index = from - 1 // the caller appends, and so names the term
}

// drop forgets entries in memory up to an index.
func (l *logView) drop(through uint64) {
	first := l.tailFirst()
	n := 0
	for ; n < len(l.tail) && first+uint64(n) <= through; n++ {
		size := costOf(l.tail[n])
		l.tailBytes -= size
		l.r.h.tail -= size
		l.tail[n] = nil
	}
	l.tail = l.tail[n:]
	if len(l.tail) == 0 {
		l.tail = nil
	}
}

// truncate takes a truncation that is handed out.
func (l *logView) truncate(to Place) {
	all := l.last.Index - l.trunc.Index
	if to.Index <= l.trunc.Index || all == 0 {
		return
	}
	l.bytes = l.behind(to.Index)
	l.drop(to.Index)
	l.trunc = to
}

// behind is about how many bytes of entries follow an index.
func (l *logView) behind(index uint64) uint64 {
	all := l.last.Index - l.trunc.Index
	if index >= l.last.Index || all == 0 {
		return 0
	}
	left := l.last.Index - max(index, l.trunc.Index)
	return uint64(float64(l.bytes) / float64(all) * float64(left))
}

// reset takes a snapshot that is handed out: the log is empty after it.
func (l *logView) reset(at Place) {
	l.drop(l.last.Index)
	l.trunc, l.last, l.bytes = at, at, 0
}

// A raftPanic is what raft found impossible: what a replica stored is not what it had
// acknowledged, as when an older copy of its disk was put back.
type raftPanic struct{ message string }

func (p *raftPanic) Error() string {
	return fmt.Sprintf("%v: raft finds: %s; if the folder was copied or put back, it is no good any more: "+
		"start the node on an empty one with --join, and have it taken in with \"meridian shard replace\"", ErrDamaged, p.message)
}

func (p *raftPanic) Unwrap() error { return ErrDamaged }

// A raftLog hands raft's warnings on; the rest is for those who debug raft.
type raftLog struct {
	log *slog.Logger
	id  Replica
}

func (l raftLog) Debug(...any)          {}
func (l raftLog) Debugf(string, ...any) {}
func (l raftLog) Info(...any)           {}
func (l raftLog) Infof(string, ...any)  {}
func (l raftLog) Warning(v ...any)      { l.log.Debug(fmt.Sprint(v...), "replica", l.id) }
func (l raftLog) Error(v ...any)        { l.log.Warn(fmt.Sprint(v...), "replica", l.id) }
func (l raftLog) Fatal(v ...any)        { l.Panic(v...) }
func (l raftLog) Panic(v ...any)        { panic(&raftPanic{fmt.Sprintf("%v: %s", l.id, fmt.Sprint(v...))}) }

func (l raftLog) Warningf(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...), "replica", l.id) }
func (l raftLog) Errorf(f string, v ...any)   { l.log.Warn(fmt.Sprintf(f, v...), "replica", l.id) }
func (l raftLog) Fatalf(f string, v ...any)   { l.Panicf(f, v...) }
func (l raftLog) Panicf(f string, v ...any)   { l.Panic(fmt.Sprintf(f, v...)) }

package peer

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
)

type frame struct {
	t    frameType
	body []byte
}

func readAll(r io.Reader) (list []frame, err error) {
	fr := newFrameReader(r)
	for {
		t, b, err := fr.next()
		if err != nil {
			return list, err
		}
		list = append(list, frame{t, bytes.Clone(b)})
	}
}

// again writes what was read.
func again(t *testing.T, typ frameType, v any) []byte {
	var b []byte
	var err error
	switch v := v.(type) {
	case *hello:
		b = v.append(nil)
	case *welcome:
		b = v.append(nil)
	case *RefusedError:
		b = appendRefusal(nil, typ, refusal{v})
	case *shard.Message:
		b, err = appendMessage(nil, v)
	case [2]uint64:
		b = appendBeat(nil, typ, v[0], v[1])
	case *ask:
		b = v.append(nil)
	case *offer:
		b = v.append(nil)
	case *shard.Chunk:
		b, err = appendData(nil, v)
	default:
		return nil
	}
	if err != nil && !errors.Is(err, ErrTooLarge) {
		t.Fatalf("%#x: %+v was read, and cannot be written: %v", typ, v, err)
	}
	return b
}

// A refusal says just what it was told, once more.
type refusal struct{ *RefusedError }

func (r refusal) Error() string { return r.Text }

// FuzzFrames: pieces make no difference, frames keep their bounds, and what was read, written
// again, reads the same.
func FuzzFrames(f *testing.F) {
	var all []byte
	for _, g := range goldens(f) {
		f.Add(g.bytes)
		all = append(all, g.bytes...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := readAll(bytes.NewReader(in))
		slow, slowErr := readAll(iotest.OneByteReader(bytes.NewReader(in)))
		if len(whole) != len(slow) || err.Error() != slowErr.Error() {
			t.Fatalf("%d frames, %v; byte by byte %d, %v", len(whole), err, len(slow), slowErr)
		}
		for i, fr := range whole {
			if slow[i].t != fr.t || !bytes.Equal(slow[i].body, fr.body) || !fr.t.known() || len(fr.body) > fr.t.bound() {
				t.Fatalf("frame %d: %#x of %d bytes", i, fr.t, len(fr.body))
			}
			v, err := read(fr.t, fr.body)
			if err != nil || v == nil {
				continue
			}
			b := again(t, fr.t, v)
			if b == nil {
				continue
			}
			typ, body, err := newFrameReader(bytes.NewReader(b)).next()
			if err != nil || typ != fr.t {
				t.Fatalf("%#x written again: %#x, %v", fr.t, typ, err)
			}
			if w, err := read(typ, body); err != nil || !same(v, w) {
				t.Fatalf("%+v written again: %+v, %v", v, w, err)
			}
		}
	})
}

// What a frame takes in memory is in proportion to its bytes, or bounded.
func TestDecodeAllocates(t *testing.T) {
	empty := raftpb.Message{}
	for range maxEntries {
		empty.Entries = append(empty.Entries, &raftpb.Entry{})
	}
	entries, err := appendMessage(nil, &shard.Message{Shard: 1, To: 1, Raft: &empty})
	if err != nil {
		t.Fatal(err)
	}
	empty.Entries = append(empty.Entries, &raftpb.Entry{})
	tooMany, err := appendMessage(nil, &shard.Message{Shard: 1, To: 1, Raft: &empty})
	if err != nil {
		t.Fatal(err)
	}
	nested := new(raftpb.Message)
	for range 100 {
		nested = &raftpb.Message{Responses: []*raftpb.Message{nested}}
	}
	responses, err := appendMessage(nil, &shard.Message{Shard: 1, To: 1, Raft: nested})
	if err != nil {
		t.Fatal(err)
	}
	pairs := appendFrame(nil, typeData, func(b []byte) []byte {
		b = append(b, make([]byte, 10)...)
		b = append(b, 0x80, 0x80, 0x10) // 256 Ki
		return append(b, make([]byte, 2*maxPairs)...)
	})
	incarnations := appendFrame(nil, typeHello, func(b []byte) []byte {
		b = append(b, 1, 1, 1, 0, 0, 0)
		b = append(b, make([]byte, 17)...)
		b = append(b, 0xff, 0xff, 0xff, 0xff, 0x7f)
		return append(b, make([]byte, 1000)...)
	})
	for name, c := range map[string]struct {
		bytes []byte
		most  uint64
		bad   bool
	}{
		"64 Ki empty entries":    {entries, maxEntries * 200, false},
		"one entry more":         {tooMany, 4096, true},
		"responses in responses": {responses, 4096, true},
		"empty pairs":            {pairs, maxPairs * 100, false},
		"incarnations claimed":   {incarnations, 4096, true},
	} {
		typ, body, err := newFrameReader(bytes.NewReader(c.bytes)).next()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = read(typ, body)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > c.most || (err != nil) != c.bad {
			t.Errorf("%s: %d bytes allocated, at most %d; %v", name, n, c.most, err)
		}
	}
}

// Beats and heads of messages are read without allocating.
func TestBeatAllocatesNothing(t *testing.T) {
	b := appendBeat(nil, typeBeat, 300, 7)
	buf := make([]byte, 0, 64)
	r := bytes.NewReader(nil)
	fr := newFrameReader(r)
	fr.buf = make([]byte, smallBuffer)
	if n := testing.AllocsPerRun(100, func() {
		buf = appendBeat(buf[:0], typeBeat, 300, 7)
		r.Reset(b)
		_, body, err := fr.next()
		if err != nil {
			t.Fatal(err)
		}
		if number, _, err := decodeBeat(body); err != nil || number != 300 {
			t.Fatal(number, err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/meridian-relay/meridian/relay/wire"
)

// read is what a Reader made of some bytes.
type read struct {
	frames []wire.Frame // with bodies of their own
	err    error
}

func readAll(r *wire.Reader) read {
	var out read
	for {
		f, err := r.Next()
		if err != nil {
			out.err = err
			return out
		}
		if len(f.Body) != cap(f.Body) {
			out.err = fmt.Errorf("%v of %d bytes has room for %d", f.Type, len(f.Body), cap(f.Body))
			return out
		}
		f.Body = bytes.Clone(f.Body)
		out.frames = append(out.frames, f)
	}
}

// sameRead compares two reads; errors by their text.
func sameRead(a, b read) error {
	if len(a.frames) != len(b.frames) {
		return fmt.Errorf("%d frames and %d", len(a.frames), len(b.frames))
	}
	for i, f := range a.frames {
		g := b.frames[i]
		if f.Type != g.Type || f.Ref != g.Ref || f.Skipped != g.Skipped || !bytes.Equal(f.Body, g.Body) {
			return fmt.Errorf("frame %d: %+v and %+v", i, f, g)
		}
	}
	if a.err.Error() != b.err.Error() {
		return fmt.Errorf("errors %q and %q", a.err, b.err)
	}
	return nil
}

// stream is frames of many sizes, the last ones beyond every buffer's.
func stream() (b []byte, sizes []int) {
	for _, n := range []int{0, 1, 127, 128, 480, 511, 512, 513, 1000, 16000, 16384, 17000, 70000, 5, 0, 1 << 20, 3} {
		b = wire.AppendMessage(b, uint64(len(sizes)+1), 7, uint64(n), bytes.Repeat([]byte{byte(n)}, n))
		sizes = append(sizes, n)
	}
	return b, sizes
}

func TestReaderGivesFramesWhateverThePieces(t *testing.T) {
	in, sizes := stream()
	readers := map[string]io.Reader{
		"all at once":    bytes.NewReader(in),
		"a byte a time":  iotest.OneByteReader(bytes.NewReader(in)),
		"halves":         iotest.HalfReader(bytes.NewReader(in)),
		"data with EOF":  iotest.DataErrReader(bytes.NewReader(in)),
		"packets":        &packets{in: in, size: 1200},
		"empty reads":    &packets{in: in, size: 900, empty: 50},
		"tiny then huge": &packets{in: in, size: 3},
	}
	for name, r := range readers {
		got := readAll(wire.NewReader(r))
		if got.err != io.EOF {
			t.Fatalf("%s: %v", name, got.err)
		}
		if len(got.frames) != len(sizes) {
			t.Fatalf("%s: %d frames, want %d", name, len(got.frames), len(sizes))
		}
		for i, f := range got.frames {
			epoch, seq, body, err := wire.ScanPosition(f.Body)
			if err != nil || f.Ref != uint64(i+1) || epoch != 7 || seq != uint64(sizes[i]) {
				t.Fatalf("%s: frame %d: ref %d, position %d:%d, %v", name, i, f.Ref, epoch, seq, err)
			}
			if want := bytes.Repeat([]byte{byte(sizes[i])}, sizes[i]); !bytes.Equal(body, want) {
				t.Fatalf("%s: frame %d has another body", name, i)
			}
		}
	}
}

// packets returns at most size bytes from a Read, and before each, empty reads without any.
type packets struct {
	in          []byte
	size, empty int
	paused      int
}

func (p *packets) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	if p.paused < p.empty {
		p.paused++
		return 0, nil
	}
	p.paused = 0
	n := copy(b, p.in[:min(p.size, len(p.in))])
	p.in = p.in[n:]
	return n, nil
}

func TestReaderGivesUpOnAReaderThatGivesNothing(t *testing.T) {
	_, err := wire.NewReader(&packets{in: []byte{0}, size: 1, empty: 1 << 30}).Next()
	if err != io.ErrNoProgress {
		t.Fatalf("got %v, want io.ErrNoProgress", err)
	}
}

func TestReaderReportsTheCarriersError(t *testing.T) {
	broken := errors.New("broken")
	frame := wire.AppendCredit(nil, 1, 100)
	r := wire.NewReader(io.MultiReader(bytes.NewReader(frame), bytes.NewReader(frame[:2]), iotest.ErrReader(broken)))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != broken {
		t.Fatalf("got %v, want the carrier's error", err)
	}
}

func TestReaderPassesOverLongPublishes(t *testing.T) {
	var in []byte
	in = wire.AppendFrame(in, wire.TypePublish, 5, make([]byte, wire.TypePublish.Bound()+1))
	in = wire.AppendFrame(in, wire.TypePing, 6, nil)
	in = wire.AppendFrame(in, wire.TypePublish, 7, make([]byte, wire.TypePublish.Bound()))
	in = wire.AppendHeader(in, wire.TypePublish, 8, wire.MaxSkip+1)
	got := readAll(wire.NewReader(bytes.NewReader(in)))
	if len(got.frames) != 3 || !errors.Is(got.err, wire.ErrTooLarge) {
		t.Fatalf("%d frames, %v; want 3 and ErrTooLarge", len(got.frames), got.err)
	}
	if f := got.frames[0]; !f.Skipped || f.Ref != 5 || f.Body != nil {
		t.Fatalf("long Publish: %v ref %d, skipped %v, %d bytes", f.Type, f.Ref, f.Skipped, len(f.Body))
	}
	if f := got.frames[2]; f.Skipped || len(f.Body) != wire.TypePublish.Bound() {
		t.Fatalf("longest Publish: skipped %v, %d bytes", f.Skipped, len(f.Body))
	}
}

func TestReaderLimit(t *testing.T) {
	var in []byte
	in = wire.AppendFrame(in, wire.TypePublish, 1, make([]byte, 1001))
	in = wire.AppendFrame(in, wire.TypePublish, 2, make([]byte, 1000))
	in = wire.AppendFrame(in, wire.TypeHello, 3, make([]byte, 1001))
	r := wire.NewReader(bytes.NewReader(in))
	r.Limit(1000)
	got := readAll(r)
	if len(got.frames) != 2 || !got.frames[0].Skipped || got.frames[1].Skipped || !errors.Is(got.err, wire.ErrTooLarge) {
		t.Fatalf("%+v", got)
	}
}

func TestReaderSkipsUnknownOddFramesOnly(t *testing.T) {
	var in []byte
	in = wire.AppendFrame(in, 0x11, 3, make([]byte, 64<<10))
	in = wire.AppendFrame(in, 0x7fffffff, 0, []byte("x"))
	in = wire.AppendFrame(in, wire.TypePong, 9, nil)
	in = wire.AppendFrame(in, 0x10, 3, nil)
	got := readAll(wire.NewReader(bytes.NewReader(in)))
	if len(got.frames) != 1 || got.frames[0].Type != wire.TypePong || got.frames[0].Ref != 9 {
		t.Fatalf("frames %+v; want the Pong", got.frames)
	}
	if !errors.Is(got.err, wire.ErrUnsupported) {
		t.Fatalf("got %v, want ErrUnsupported", got.err)
	}
}

// TestReaderClaimsCostNothing: memory follows what was sent, not what a header claims.
func TestReaderClaimsCostNothing(t *testing.T) {
	for _, sent := range []int{100, 5000, 20_000, 100_000} {
		in := wire.AppendHeader(nil, wire.TypePublish, 1, wire.TypePublish.Bound())
		in = append(in, make([]byte, sent)...)
		const readers = 50
		kept := make([]*wire.Reader, readers)
		before := heap()
		for i := range kept {
			kept[i] = wire.NewReader(bytes.NewReader(in))
			if _, err := kept[i].Next(); err != io.ErrUnexpectedEOF {
				t.Fatal(err)
			}
		}
		each := int64(heap()-before) / readers
		runtime.KeepAlive(in)
		runtime.KeepAlive(kept)
		if most := 2*sent + 2<<10; each > int64(most) {
			t.Errorf("a claim of 1 MiB with %d bytes sent holds %d bytes; at most %d", sent, each, most)
		}
	}
}

// TestReaderRestsSmall: what a long frame or a burst took is given back.
func TestReaderRestsSmall(t *testing.T) {
	burst := wire.AppendFrame(nil, wire.TypeMessage, 1, make([]byte, 1<<20))
	burst = append(burst, wire.AppendCredit(nil, 1, 5)[0]) // and a byte of the next frame
	tail := wire.AppendCredit(nil, 1, 5)[1:]
	pings := bytes.Repeat(wire.AppendFrame(nil, wire.TypePing, 1, nil), 2000)
	const readers = 50
	kept := make([]*wire.Reader, readers)
	before := heap()
	for i := range kept {
		r := wire.NewReader(io.MultiReader(bytes.NewReader(burst), bytes.NewReader(tail), bytes.NewReader(pings),
			&packets{in: bytes.Repeat(wire.AppendFrame(nil, wire.TypePing, 1, nil), 200), size: 3}))
		if got := readAll(r); got.err != io.EOF || len(got.frames) != 2202 {
			t.Fatalf("%d frames, %v", len(got.frames), got.err)
		}
		kept[i] = r
	}
	each := int64(heap()-before) / readers
	runtime.KeepAlive(burst)
	runtime.KeepAlive(pings)
	runtime.KeepAlive(kept)
	if each > 2<<10 {
		t.Errorf("a reader at rest holds %d bytes", each)
	}
}

// TestReaderGivesALongFramesRoomBack at once, though the next frame has begun.
func TestReaderGivesALongFramesRoomBack(t *testing.T) {
	in := wire.AppendFrame(nil, wire.TypeMessage, 1, make([]byte, 1<<20))
	in = append(in, byte(wire.TypeCredit))
	const readers = 20
	kept := make([]*wire.Reader, readers)
	before := heap()
	for i := range kept {
		kept[i] = wire.NewReader(bytes.NewReader(in))
		if got := readAll(kept[i]); len(got.frames) != 1 || got.err != io.ErrUnexpectedEOF {
			t.Fatalf("%d frames, %v", len(got.frames), got.err)
		}
	}
	each := int64(heap()-before) / readers
	runtime.KeepAlive(in)
	runtime.KeepAlive(kept)
	if each > 18<<10 {
		t.Errorf("a reader that waits after a long frame holds %d bytes", each)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

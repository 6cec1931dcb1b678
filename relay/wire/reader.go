package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Errors of a Reader. They end the session with the codes protocol, too_large and unsupported;
// a stream that ends within a frame (io.ErrUnexpectedEOF) with protocol.
var (
	// ErrMalformed: a varint is longer than ten bytes, or a body does not parse.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge: a frame, payload, key or header is longer than allowed.
	ErrTooLarge = errors.New("too large")
	// ErrUnsupported: a frame of an even type that this version does not know.
	ErrUnsupported = errors.New("unsupported frame")
)

// A Frame is one frame as it was read.
type Frame struct {
	Type Type
	Ref  uint64
	Body []byte
	// Skipped says that a Publish was longer than its bound: its body was passed over.
	Skipped bool
}

// Sizes of a Reader's buffer, in bytes. It begins small, because most sessions rest. It doubles
// while input fills it, up to largeBuffer, and beyond only for a longer frame, and then no
// faster than that frame's bytes come: a length that is only claimed costs nothing. It halves
// after idleReads reads in a row that used less than a quarter of it.
const (
	smallBuffer = 512
	largeBuffer = 16 << 10
	idleReads   = 16
)

// emptyReads is how many reads in a row may return neither bytes nor an error.
const emptyReads = 100

// A Reader reads frames from a stream. Its memory is at most twice what a frame's peer has sent
// of it, and largeBuffer. Not for concurrent use.
type Reader struct {
	r     io.Reader
	limit int
	buf   []byte // buf[pos:end] was read and not yet returned
	pos   int
	end   int
	idle  int // reads in a row that used little of buf
}

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r, limit: MaxSkip} }

// Limit lowers the longest body of every type to n bytes, from the next frame on: what a server
// allows before Hello, or what its namespaces allow at all. A longer Publish is passed over, any
// other frame is ErrTooLarge.
func (r *Reader) Limit(n int) { r.limit = n }

// Buffered reports how many bytes were read and not yet returned as frames.
func (r *Reader) Buffered() int { return r.end - r.pos }

// Next returns the next frame; its body is valid until the next call. Unknown frames of odd
// type are skipped. At the end of the stream between two frames it returns io.EOF, within a
// frame io.ErrUnexpectedEOF.
func (r *Reader) Next() (Frame, error) {
	for {
		f, err := r.next()
		if err != nil || f.Type.Known() {
			return f, err
		}
	}
}

func (r *Reader) next() (Frame, error) {
	var f Frame
	var head [3]uint64
	for {
		n, err := parseHeader(r.buf[r.pos:r.end], &head)
		if err != nil {
			return f, err
		}
		if n > 0 {
			r.pos += n
			break
		}
		if err := r.fill(0); err != nil {
			if err == io.EOF && r.pos < r.end {
				err = io.ErrUnexpectedEOF
			}
			return f, err
		}
	}
	f.Type, f.Ref = Type(head[0]), head[1]
	if f.Ref > MaxRef {
		return f, fmt.Errorf("%w: ref %d is not below 2^53", ErrMalformed, f.Ref)
	}
	if !f.Type.Known() && f.Type.MustKnow() {
		return f, fmt.Errorf("%w: %v", ErrUnsupported, f.Type)
	}
	if bound := uint64(min(f.Type.Bound(), r.limit)); head[2] > bound {
		if f.Type != TypePublish || head[2] > MaxSkip {
			return f, fmt.Errorf("%w: %v of %d bytes; at most %d", ErrTooLarge, f.Type, head[2], bound)
		}
		f.Skipped = true
		return f, r.skip(int(head[2]))
	}
	size := int(head[2])
	if !f.Type.Known() {
		return f, r.skip(size)
	}
	for r.end-r.pos < size {
		if err := r.fill(size); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return f, err
		}
	}
	if size > len(r.buf)/4 {
		r.idle = 0 // in use, however small the reads are
	}
	f.Body = r.buf[r.pos : r.pos+size : r.pos+size]
	r.pos += size
	return f, nil
}

// parseHeader parses three varints into head and returns their length, or 0 if b ends before.
func parseHeader(b []byte, head *[3]uint64) (int, error) {
	n := 0
	for i := range head {
		v, k := binary.Uvarint(b[n:])
		if k == 0 && len(b)-n < binary.MaxVarintLen64 {
			return 0, nil
		}
		if k <= 0 {
			return 0, fmt.Errorf("%w: varint of more than 64 bits in a frame's header", ErrMalformed)
		}
		head[i], n = v, n+k
	}
	return n, nil
}

// fill reads once more, toward need bytes from pos on.
func (r *Reader) fill(need int) error {
	r.makeRoom(need)
	for range emptyReads {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			r.adapt(n)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// makeRoom provides room behind end: for all of need bytes, if the buffer is long enough, else
// for twice what was received of them.
func (r *Reader) makeRoom(need int) {
	have := r.end - r.pos
	if have == 0 {
		r.pos, r.end = 0, 0
	}
	want := max(need, have+MaxHeaderLen, smallBuffer)
	size := len(r.buf)
	switch {
	case size > largeBuffer && want <= largeBuffer:
		r.resize(largeBuffer) // it grew for one long frame, and what comes may take its time
		return
	case size-r.pos >= want:
		return
	}
	if r.pos > 0 {
		r.end = copy(r.buf, r.buf[r.pos:r.end])
		r.pos = 0
	}
	if r.end < size {
		return
	}
	if size = max(2*size, smallBuffer); size > largeBuffer {
		size = min(size, max(want, largeBuffer))
	}
	r.resize(size)
}

// adapt fits the buffer to the input after a read of n bytes.
func (r *Reader) adapt(n int) {
	size := len(r.buf)
	if r.end == size && size < largeBuffer {
		r.resize(2 * size)
	}
	if n >= size/4 || size == smallBuffer {
		r.idle = 0
		return
	}
	r.idle++
	if half := size / 2; r.idle >= idleReads && half >= smallBuffer && r.end-r.pos <= half {
		r.resize(half)
		r.idle = 0
	}
}

func (r *Reader) resize(size int) {
	buf := make([]byte, size)
	r.end = copy(buf, r.buf[r.pos:r.end])
	r.buf, r.pos = buf, 0
}

// skip passes over n bytes.
func (r *Reader) skip(n int) error {
	for n > 0 {
		if have := min(n, r.end-r.pos); have > 0 {
			r.pos += have
			n -= have
			continue
		}
		if err := r.fill(0); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

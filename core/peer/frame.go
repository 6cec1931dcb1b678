package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Errors of what peers send. They end the connection.
var (
	// ErrMalformed: bytes that are not a frame, or a body that does not parse.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge: a frame longer than its bound.
	ErrTooLarge = errors.New("too large")
	// ErrUnsupported: a frame of an even type that this version does not know, or out of place.
	ErrUnsupported = errors.New("unsupported frame")
)

type frameType uint64

const (
	typeHello   frameType = 0x02
	typeWelcome frameType = 0x04
	typeRefuse  frameType = 0x06
	typeMessage frameType = 0x08
	typeBeat    frameType = 0x0a
	typeUnwell  frameType = 0x0b
	typeEcho    frameType = 0x0c
	typeAsk     frameType = 0x20
	typeOffer   frameType = 0x22
	typeKeep    frameType = 0x24
	typeNeed    frameType = 0x26
	typeData    frameType = 0x28
	typeDone    frameType = 0x2a
	typeFail    frameType = 0x2c
	typeEnd     frameType = 0x2e
)

// maxMessage is the longest raft message, in bytes.
const maxMessage = 32 << 20

// bounds holds the longest body of every type, in bytes; 0: no such type.
var bounds = [0x30]int{
	typeHello: 1 << 20, typeWelcome: 1 << 20, typeRefuse: 2 << 10, typeMessage: maxMessage,
	typeBeat: 64, typeUnwell: 64, typeEcho: 64, typeAsk: 64 << 10, typeOffer: 128 << 10, typeKeep: 64, typeNeed: 64,
	typeData: 8 << 20, typeDone: 64, typeFail: 2 << 10, typeEnd: 64,
}

// maxSkip is the longest body of an unknown frame that is skipped, in bytes.
const maxSkip = 64 << 10

func (t frameType) known() bool { return t < frameType(len(bounds)) && bounds[t] != 0 }

func (t frameType) bound() int {
	if t.known() {
		return bounds[t]
	}
	return maxSkip
}

// appendFrame appends a frame whose body append appends.
func appendFrame(b []byte, t frameType, body func([]byte) []byte) []byte {
	// The length is not known before: room for the longest that a bound allows, in four bytes.
	b = binary.AppendUvarint(b, uint64(t))
	at := len(b)
	b = append(b, 0x80, 0x80, 0x80, 0)
	if body != nil {
		b = body(b)
	}
	n := len(b) - at - 4
	b[at], b[at+1], b[at+2], b[at+3] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)|0x80, byte(n>>21)&0x7f
	return b
}

func appendString[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Sizes of a frameReader's buffer, in bytes: to begin with, and what it keeps.
const (
	smallBuffer = 4 << 10
	keptBuffer  = 256 << 10
)

// A frameReader reads frames. Its buffer is at most twice what came of a frame: a length that is
// only claimed costs nothing. Not for concurrent use.
type frameReader struct {
	r        io.Reader
	buf      []byte // buf[pos:end] was read and not yet returned
	pos, end int
}

func newFrameReader(r io.Reader) *frameReader { return &frameReader{r: r} }

// next returns the next frame of a known type; its body is valid until the next call. At the end
// of the stream between two frames it returns io.EOF.
func (r *frameReader) next() (frameType, []byte, error) {
	for {
		t, body, err := r.any()
		if err != nil || t.known() {
			return t, body, err
		}
	}
}

// whole reports whether next would return without reading: the next frame is here.
func (r *frameReader) whole() bool {
	_, head, size, err := parseHead(r.buf[r.pos:r.end])
	return err == nil && head > 0 && r.end-r.pos-head >= size
}

func (r *frameReader) any() (frameType, []byte, error) {
	for {
		t, head, size, err := parseHead(r.buf[r.pos:r.end])
		if err != nil {
			return t, nil, err
		}
		if head > 0 && r.end-r.pos-head >= size {
			body := r.buf[r.pos+head : r.pos+head+size : r.pos+head+size]
			r.pos += head + size
			return t, body, nil
		}
		if err := r.fill(head + size); err != nil {
			if err == io.EOF && r.pos < r.end {
				err = io.ErrUnexpectedEOF
			}
			return t, nil, err
		}
	}
}

// parseHead parses what stands before a body. A head of 0: more is needed.
func parseHead(b []byte) (t frameType, head, size int, err error) {
	v, n, err := varint(b)
	if n == 0 {
		return 0, 0, 0, err
	}
	t = frameType(v)
	if !t.known() && t%2 == 0 {
		return t, 0, 0, fmt.Errorf("%w: type %#x", ErrUnsupported, v)
	}
	length, m, err := varint(b[n:])
	if m == 0 {
		return t, 0, 0, err
	}
	if length > uint64(t.bound()) {
		return t, 0, 0, fmt.Errorf("%w: frame %#x of %d bytes, at most %d", ErrTooLarge, v, length, t.bound())
	}
	return t, n + m, int(length), nil
}

// varint reads one of a head. A length of 0 without an error: more is needed.
func varint(b []byte) (v uint64, n int, err error) {
	v, n = binary.Uvarint(b)
	if n < 0 || n == 0 && len(b) >= binary.MaxVarintLen64 {
		return 0, 0, fmt.Errorf("%w: varint of more than 64 bits in a frame's head", ErrMalformed)
	}
	return v, n, nil
}

// fill reads once more, toward need bytes from pos on.
func (r *frameReader) fill(need int) error {
	if r.pos == r.end {
		r.pos, r.end = 0, 0
		if len(r.buf) > keptBuffer {
			r.buf = nil
		}
	}
	if r.end == len(r.buf) || r.pos > 0 && len(r.buf)-r.pos < need {
		buf := r.buf
		if have := r.end - r.pos; have == len(buf) || have > len(buf)/2 && need > len(buf) {
			buf = make([]byte, max(smallBuffer, 2*len(buf)))
		}
		r.end = copy(buf, r.buf[r.pos:r.end])
		r.pos, r.buf = 0, buf
	}
	for range 100 {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// A body is what is left of a frame's body to parse. After an error all that it returns is zero.
type body struct {
	b   []byte
	bad bool
}

func (p *body) number() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

// bytes returns the next n bytes, which are the frame's.
func (p *body) bytes(n uint64) []byte {
	if n > uint64(len(p.b)) {
		p.bad, p.b = true, nil
		return nil
	}
	v := p.b[:n:n]
	p.b = p.b[n:]
	return v
}

func (p *body) string() []byte { return p.bytes(p.number()) }

// end returns an error if something did not parse, or is left over.
func (p *body) end(what string) error {
	if p.bad || len(p.b) > 0 {
		return fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	return nil
}

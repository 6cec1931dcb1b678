package edge

import (
	"errors"
	"io"
	"sync"
)

// memory is what the HTTP requests of an edge may hold together.
type memory struct {
	mu   sync.Mutex
	free int // bytes
}

// take reports whether n bytes were free; they are taken then.
func (m *memory) take(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.free < n {
		return false
	}
	m.free -= n
	return true
}

func (m *memory) give(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free += n
}

// hold takes n bytes until the call ends, and reports whether they were free.
func (c *call) hold(n int) bool {
	if !c.api.memory.take(n) {
		return false
	}
	c.held += n
	return true
}

var (
	errBodyTooLarge = errors.New("the body is too large")
	errNoMemory     = errors.New("too many requests are under way")
)

// body reads the request's body. What it holds grows with what has arrived, so that a client
// that only promises bytes costs none.
func (c *call) body(most int) ([]byte, error) {
	const factor = 3 // the body, what it is parsed into, what goes to the home
	var b []byte
	for {
		if len(b) == cap(b) {
			grown := min(max(4<<10, 2*cap(b)), most+1)
			if !c.hold((grown - cap(b)) * factor) {
				return nil, errNoMemory
			}
			b = append(make([]byte, 0, grown), b...)
		}
		n, err := c.r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > most:
			return nil, errBodyTooLarge
		case err == io.EOF:
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}

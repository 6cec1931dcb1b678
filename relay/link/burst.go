package link

import "github.com/meridian-relay/meridian/relay"

// A burst is what one read of a stream brings. Who reads a history is woken once for all of it,
// before the next read may wait: to be woken for each message costs more than the message.
type burst struct {
	in  relay.ReceiveStream
	due []*subscription // to be woken
}

// Read implements io.Reader.
func (b *burst) Read(p []byte) (int, error) {
	b.wake()
	return b.in.Read(p)
}

func (b *burst) wake() {
	for i, s := range b.due {
		b.due[i] = nil
		s.wake()
	}
	b.due = b.due[:0]
}

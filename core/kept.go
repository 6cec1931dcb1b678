package core

import (
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

// Bounds of states that are kept open from one Next to the next.
const (
	keptFor = time.Second // a state that is open keeps files and memory that are otherwise gone
	keptMax = 256
)

// kept holds the states that subscriptions have in the middle of a history: to open one anew for
// each Next, and to find the place in it, costs about as much as to read what a Next gives, and
// the system does not read ahead for who begins anew each time.
//
// A state is kept for keptFor from when it was opened, however it is read; then, or past keptMax,
// the subscription opens another.
type kept struct {
	mu     sync.Mutex
	list   []keeping // in order of since
	closed bool
}

type keeping struct {
	who   *subscription
	state rereader
	since time.Time
}

// A rereader is a shard.Reader that lends anew after what it lent was given back.
type rereader interface {
	shard.Reader
	// Forget gives back what was lent.
	Forget()
}

// put keeps s's state, which was opened at since, or closes it.
func (k *kept) put(s *subscription, r rereader, since, now time.Time) {
	k.mu.Lock()
	full := k.closed || len(k.list) >= keptMax || now.Sub(since) >= keptFor
	if !full {
		i := len(k.list)
		k.list = append(k.list, keeping{})
		for ; i > 0 && since.Before(k.list[i-1].since); i-- {
			k.list[i] = k.list[i-1]
		}
		k.list[i] = keeping{s, r, since}
	}
	k.mu.Unlock()
	if full {
		r.Close()
	}
}

// take returns the state that is kept for s, which is then the caller's; nil: none.
func (k *kept) take(s *subscription) (r rereader, since time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.list {
		if e := &k.list[i]; e.who == s {
			r, since = e.state, e.since
			k.remove(i)
			return r, since
		}
	}
	return nil, since
}

func (k *kept) remove(i int) {
	n := copy(k.list[i:], k.list[i+1:])
	k.list[i+n] = keeping{}
	k.list = k.list[:i+n]
}

// expire closes what was opened keptFor ago.
func (k *kept) expire(now time.Time) {
	for {
		k.mu.Lock()
		if len(k.list) == 0 || now.Sub(k.list[0].since) < keptFor && !k.closed {
			k.mu.Unlock()
			return
		}
		r := k.list[0].state
		k.remove(0)
		k.mu.Unlock()
		r.Close()
	}
}

// close closes all, and what would be put.
func (k *kept) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.expire(time.Time{})
}

package hub

// A list is an intrusive list of subscriptions, guarded by their topic's mutex. Invariant: a
// subscription is in one list at most, and is owed one wake exactly while it is in one.
type list struct {
	head, tail *subscription
}

func (l *list) push(s *subscription) {
	if s.in == l {
		return
	}
	s.leave()
	s.in, s.prev = l, l.tail
	if l.tail != nil {
		l.tail.next = s
	} else {
		l.head = s
	}
	l.tail = s
}

// leave takes s out of the list that it is in, if any.
func (s *subscription) leave() {
	l := s.in
	if l == nil {
		return
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.head = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.tail = s.prev
	}
	s.in, s.prev, s.next = nil, nil, nil
}

// A bell wakes subscriptions. Those that wait for news are armed; news makes all of them due at
// once without touching each, because the two lists change places as soon as the due one is
// empty.
type bell struct {
	lists [2]list
	armed uint8 // which of the lists waits for news; the other is due
	news  bool  // those armed become due next
}

// arm makes s wait for news.
func (b *bell) arm(s *subscription) { b.lists[b.armed].push(s) }

// ring makes s due.
func (b *bell) ring(s *subscription) { b.lists[b.armed^1].push(s) }

// all makes everyone due who is armed.
func (b *bell) all() { b.news = b.news || b.lists[b.armed].head != nil }

// next takes a subscription that is due; nil: none is.
func (b *bell) next() *subscription {
	if b.lists[b.armed^1].head == nil {
		if !b.news {
			return nil
		}
		b.news = false
		b.armed ^= 1
	}
	s := b.lists[b.armed^1].head
	if s != nil {
		s.leave()
	}
	return s
}

// empty reports whether nobody is armed or due.
func (b *bell) empty() bool { return b.lists[0].head == nil && b.lists[1].head == nil }

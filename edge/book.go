package edge

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

const (
	// idleFor is how long an account outlives its last use, so that a peer that comes and goes
	// does not get a fresh allowance each time.
	idleFor = time.Minute
	// maxIdle bounds the idle accounts of a book. The one idle for longest is forgotten first.
	maxIdle = 1 << 16
)

// A book holds the accounts of all subjects, or of all addresses. Those in use are as many as
// sessions and requests at most, which have bounds of their own.
type book struct {
	// Set at construction.
	scope string

	mu       sync.Mutex
	limits   Scope
	accounts map[string]*entry
	idle     list.List // of *entry with uses 0, the one idle for longest first
}

type entry struct {
	account

	// Guarded by book.mu.
	key   string
	uses  int
	since time.Time     // idle since
	place *list.Element // in book.idle; nil: in use
}

func newBook(scope string, limits Scope) *book {
	return &book{scope: scope, limits: limits, accounts: make(map[string]*entry)}
}

// open returns the account of key; release follows.
func (b *book) open(key string) *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(time.Now())
	e := b.accounts[key]
	if e == nil {
		e = &entry{key: key, account: account{scope: b.scope, limits: b.limits}}
		b.accounts[key] = e
	}
	if e.place != nil {
		b.idle.Remove(e.place)
		e.place = nil
	}
	e.uses++
	return e
}

func (b *book) release(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.uses--
	if e.uses == 0 {
		e.since = time.Now()
		e.place = b.idle.PushBack(e)
	}
	b.sweep(time.Now())
}

func (b *book) sweep(now time.Time) {
	for front := b.idle.Front(); front != nil; front = b.idle.Front() {
		e := front.Value.(*entry)
		if b.idle.Len() <= maxIdle && now.Sub(e.since) < idleFor {
			return
		}
		b.idle.Remove(front)
		delete(b.accounts, e.key)
	}
}

func (b *book) setLimits(s Scope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limits = s
	for _, e := range b.accounts {
		e.setLimits(s)
	}
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.accounts)
}

// addressKey is whom limits per address count together: an IPv4 address or an IPv6 /64.
func addressKey(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() || !addr.IsValid() {
		return addr.String()
	}
	prefix, _ := addr.Prefix(64) // no error: an IPv6 address has 64 bits
	return prefix.String()
}

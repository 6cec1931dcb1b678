package client

import (
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// rememberFor is how long the carrier that won is tried first.
const rememberFor = 10 * time.Minute

// A winner remembers which carrier won, until the network changes.
type winner struct {
	// Set at construction.
	carriers []relay.Carrier
	network  func() string // names the networks that this machine is on

	mu      sync.Mutex
	carrier relay.Carrier // empty: none
	until   time.Time
	on      string
}

// order returns the carriers in the order to try them.
func (w *winner) order() []relay.Carrier {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := slices.Clone(w.carriers)
	if w.carrier == "" || !time.Now().Before(w.until) || w.network() != w.on {
		return list
	}
	slices.SortStableFunc(list, func(a, b relay.Carrier) int {
		switch w.carrier {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	return list
}

// won notes that k was the first to be ready.
func (w *winner) won(k relay.Carrier) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on := w.network(); w.carrier != k || w.on != on || !time.Now().Before(w.until) {
		w.carrier, w.until, w.on = k, time.Now().Add(rememberFor), on
	}
}

// localNetwork names the networks by this machine's addresses.
func localNetwork() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "" // as good as unchanged
	}
	names := make([]string, len(addrs))
	for i, a := range addrs {
		names[i] = a.String()
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

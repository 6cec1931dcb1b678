package wan

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Measured round trips between cloud regions; the file names their source.
//
//go:embed region-rtt.csv
var regionRTT string

// withinRegion is a round trip between zones; 0.1 to 2.3 ms in the same source.
const withinRegion = time.Millisecond

// measured is the table, both ways.
var measured = sync.OnceValue(func() map[[2]string]time.Duration {
	table := make(map[[2]string]time.Duration)
	for line := range strings.Lines(regionRTT) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) != 3 || strings.HasPrefix(line, "#") || f[0] == "from" {
			continue
		}
		ms, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			continue // a test counts what is there
		}
		rtt := time.Duration(ms * float64(time.Millisecond))
		table[[2]string{f[0], f[1]}], table[[2]string{f[1], f[0]}] = rtt, rtt
		table[[2]string{f[0], f[0]}], table[[2]string{f[1], f[1]}] = withinRegion, withinRegion
	}
	return table
})

// Regions returns the regions with measured round trips, sorted.
func Regions() []string {
	names := make(map[string]struct{})
	for pair := range measured() {
		names[pair[0]] = struct{}{}
	}
	return slices.Sorted(maps.Keys(names))
}

// RoundTrip returns the measured round trip between two regions, and 1 ms within one. A few pairs
// were not measured.
func RoundTrip(a, b string) (time.Duration, bool) {
	rtt, ok := measured()[[2]string{a, b}]
	return rtt, ok
}

// Measured gives the ways between places half of the measured round trip of their regions as their
// delay; nothing else about them changes. regions says where each place is.
func (n *Network) Measured(regions map[string]string) error {
	places := slices.Sorted(maps.Keys(regions))
	for _, a := range places {
		for _, b := range places {
			if a >= b {
				continue
			}
			rtt, ok := RoundTrip(regions[a], regions[b])
			if !ok {
				return fmt.Errorf("wan: no measured round trip between %q and %q; regions: %s",
					regions[a], regions[b], strings.Join(Regions(), ", "))
			}
			n.Both(a, b, func(w *Way) { w.Delay = rtt / 2 })
		}
	}
	return nil
}

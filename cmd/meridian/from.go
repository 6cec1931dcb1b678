package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

const fromHelp = "where to begin: live, start, last:N, since:10m, or EPOCH:SEQ (after that position)"

// parseFrom reads --from.
func parseFrom(s string) (relay.Start, error) {
	kind, value, _ := strings.Cut(s, ":")
	switch {
	case s == "live":
		return relay.Start{}, nil
	case s == "start":
		return relay.Start{Kind: relay.StartFirst}, nil
	case kind == "last":
		n, err := strconv.ParseUint(value, 10, 53)
		if err != nil || n == 0 {
			return relay.Start{}, usagef("--from %q: write last:N with a whole number from 1 on", s)
		}
		return relay.Start{Kind: relay.StartLast, Count: n}, nil
	case kind == "since":
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 || d > math.MaxInt64/2 {
			return relay.Start{}, usagef("--from %q: write since: with a time, such as since:30s, since:10m or since:24h", s)
		}
		return relay.Start{Kind: relay.StartSince, Since: d}, nil
	}
	at, err := relay.ParsePosition(s)
	if err != nil {
		return relay.Start{}, usagef("--from %q: write live, start, last:N, since:10m or EPOCH:SEQ", s)
	}
	return relay.Start{Kind: relay.StartAfter, After: at}, nil
}

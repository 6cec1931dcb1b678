package channel

import (
	"encoding/binary"
	"time"
)

// NextDue returns when Due or Expire have to look again, in Unix ms: 0, never. It may be in the
// past.
func NextDue(r Reader) uint64 {
	for range r.Ascend([]byte{kindSweep}, []byte{kindSweep + 1}) {
		return 1 // at once
	}
	next := uint64(0)
	for k := range r.Ascend([]byte{kindDue}, []byte{kindDue + 1}) {
		next = max(binary.BigEndian.Uint64(k[1:]), 1)
		break
	}
	for k := range r.Ascend([]byte{kindExpiry}, []byte{kindExpiry + 1}) {
		if at := max(binary.BigEndian.Uint64(k[1:]), 1); next == 0 || at < next {
			next = at
		}
		break
	}
	return next
}

// ExpiryDue reports whether Expire has a producer to look at.
func ExpiryDue(r Reader, now time.Time) bool {
	end := appendDueKey(nil, uint64(max(now.UnixMilli(), 0))+1, "")
	end[0] = kindExpiry
	for range r.Ascend([]byte{kindExpiry}, end) {
		return true
	}
	return false
}

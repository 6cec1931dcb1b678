package channel

import (
	"bytes"

	"github.com/meridian-relay/meridian/relay"
)

// Floor returns what every epoch that begins from now on exceeds.
func Floor(r Reader) relay.Epoch {
	sh := loadShard(r)
	return sh.floor
}

// Defined reports whether a namespace is defined, and whether its policy is p.
func Defined(r Reader, ns relay.Namespace, p Policy) (defined, same bool) {
	v, ok := r.Get(appendName(nil, kindPolicy, ns))
	want := p.filled()
	return ok, ok && bytes.Equal(v, want.append(nil))
}

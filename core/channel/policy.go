package channel

import (
	"fmt"
	"time"

	"github.com/meridian-relay/meridian/relay/wire"
)

// A Policy is what holds for every channel of a namespace. The zero Policy works.
type Policy struct {
	// Age is how long a message is kept. 0: ten minutes; negative: no bound.
	Age time.Duration
	// Count is how many messages a channel keeps. 0: no bound.
	Count uint64
	// Bytes is how many bytes of messages a channel keeps. 0: 64 MiB.
	Bytes uint64
	// Keyed keeps the newest message of every key beyond Age, though not beyond Bytes;
	// it excludes Count. Messages without a key count as one more key. A message that a newer one of its
	// key replaced goes by Age, or a minute after it came, where Age is negative.
	Keyed bool
	// Payload is the longest payload in bytes, at most 1 MiB. 0: 64 KiB.
	Payload int
	// ForgetAfter is how long a channel without messages and producers is remembered. 0: one
	// hour.
	ForgetAfter time.Duration
}

// Defaults of a Policy.
const (
	DefaultAge         = 10 * time.Minute
	DefaultBytes       = 64 << 20
	DefaultPayload     = 64 << 10
	DefaultForgetAfter = time.Hour
	compactAfter       = time.Minute
)

// Check refuses a policy that cannot be kept, and says what to change.
func (p Policy) Check() error {
	if p.Payload < 0 || p.Payload > wire.MaxPayload {
		return fmt.Errorf("payload of %d bytes: allowed are 1 to %d, and 0 for the default of %d",
			p.Payload, wire.MaxPayload, DefaultPayload)
	}
	if p.Keyed && p.Count > 0 {
		return fmt.Errorf("count of %d with keyed: what is kept is one message for every key; leave count 0", p.Count)
	}
	if p.ForgetAfter < 0 {
		return fmt.Errorf("forget_after of %v: it cannot be negative; 0 is the default of %v",
			p.ForgetAfter, DefaultForgetAfter)
	}
	return nil
}

// filled returns p with its defaults filled in; an Age without bound is 0 then.
func (p Policy) filled() Policy {
	switch {
	case p.Age == 0:
		p.Age = DefaultAge
	case p.Age < 0:
		p.Age = 0
	case p.Age < time.Millisecond:
		p.Age = time.Millisecond
	}
	if p.Bytes == 0 {
		p.Bytes = DefaultBytes
	}
	if p.Payload == 0 {
		p.Payload = DefaultPayload
	}
	if p.ForgetAfter == 0 {
		p.ForgetAfter = DefaultForgetAfter
	}
	return p
}

// append appends the record of a policy that is filled.
func (p *Policy) append(b []byte) []byte {
	b = append(b, recordVersion)
	b = putUint(b, uint64(p.Age.Milliseconds()))
	b = putUint(b, p.Count)
	b = putUint(b, p.Bytes)
	keyed := uint64(0)
	if p.Keyed {
		keyed = 1
	}
	b = putUint(b, keyed)
	b = putUint(b, uint64(p.Payload))
	return putUint(b, uint64(p.ForgetAfter.Milliseconds()))
}

func decodePolicy(ns string, b []byte) Policy {
	d := newDecoder(b)
	p := Policy{
		Age:         time.Duration(d.uint()) * time.Millisecond,
		Count:       d.uint(),
		Bytes:       d.uint(),
		Keyed:       d.uint() != 0,
		Payload:     int(d.uint()),
		ForgetAfter: time.Duration(d.uint()) * time.Millisecond,
	}
	d.check("policy", ns)
	return p
}

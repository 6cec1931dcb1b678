package channel

import (
	"bytes"
	"iter"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// Whatever stands in a record, decoding ends, in bounded memory: with what encodes to the same
// record again, or with the panic that says which record is damaged.
func FuzzRecords(f *testing.F) {
	h := head{at: relay.Position{Epoch: 2, Seq: 3}, closed: []closedEpoch{{1, 9}}}
	pr := producer{epoch: 1, last: 2, tail: []entry{{1, 2}, {0, 0}}}
	policy := Policy{}.filled()
	sh := shard{floor: 7, limits: Limits{}.filled()}
	f.Add(h.append(nil))
	f.Add(pr.append(nil))
	f.Add(policy.append(nil))
	f.Add(sh.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		again := func(decode func() []byte) {
			defer func() {
				r := recover()
				if _, ok := r.(*Damage); r != nil && !ok {
					panic(r)
				}
			}()
			first := decode()
			b = first
			if second := decode(); !bytes.Equal(first, second) {
				t.Fatalf("%x becomes %x", first, second)
			}
		}
		in := b
		again(func() []byte { var h head; h.decode("chat:a", b); return h.append(nil) })
		b = in
		again(func() []byte { var p producer; p.decode(producerID{}, b); return p.append(nil) })
		b = in
		again(func() []byte { s := loadShard(one{b}); return s.append(nil) })
	})
}

// one is a view in which every key has the same value.
type one struct{ value []byte }

func (o one) Get([]byte) ([]byte, bool) { return o.value, true }

func (o one) Ascend(_, _ []byte) iter.Seq2[[]byte, []byte] { return func(func(k, v []byte) bool) {} }

func (o one) Descend(_, _ []byte) iter.Seq2[[]byte, []byte] { return func(func(k, v []byte) bool) {} }

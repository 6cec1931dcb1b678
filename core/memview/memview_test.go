package memview_test

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/meridian-relay/meridian/core/memview"
)

// A view answers as a sorted list does, whatever was set and deleted.
func TestViewIsASortedMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	view, model := memview.New(), make(map[string]string)
	key := func() string { return fmt.Sprintf("k%03d", r.IntN(300)) }
	for i := range 20_000 {
		k := key()
		switch r.IntN(3) {
		case 0:
			view.Delete([]byte(k))
			delete(model, k)
		default:
			view.Set([]byte(k), fmt.Append(nil, i))
			model[k] = fmt.Sprint(i)
		}
		got, ok := view.Get([]byte(k))
		if want, there := model[k]; ok != there || string(got) != want {
			t.Fatalf("Get %s: %q %v, want %q %v", k, got, ok, want, there)
		}
		if i%100 != 0 {
			continue
		}
		from, to := key(), key()
		var want []string
		for _, k := range slices.Sorted(maps.Keys(model)) {
			if from <= k && k < to {
				want = append(want, k+"="+model[k])
			}
		}
		same(t, "Ascend", view.Ascend([]byte(from), []byte(to)), want)
		slices.Reverse(want)
		same(t, "Descend", view.Descend([]byte(from), []byte(to)), want)
	}
	size := int64(0)
	for k, v := range model {
		size += int64(len(k) + len(v) + 112)
	}
	if view.Size() != size || view.Len() != len(model) {
		t.Fatalf("%d entries of %d bytes, want %d of %d", view.Len(), view.Size(), len(model), size)
	}
}

func same(t *testing.T, what string, got iter.Seq2[[]byte, []byte], want []string) {
	t.Helper()
	var list []string
	for k, v := range got {
		list = append(list, string(k)+"="+string(v))
	}
	if !slices.Equal(list, want) {
		t.Fatalf("%s: %v, want %v", what, list, want)
	}
}

// The key is copied, so a caller may reuse its buffer; what was lent stays as it was.
func TestKeysAreCopiedAndValuesStay(t *testing.T) {
	view, key := memview.New(), []byte("key")
	view.Set(key, []byte("one"))
	lent, _ := view.Get(key)
	view.Set(key, []byte("two"))
	copy(key, "xxx")
	if got, ok := view.Get([]byte("key")); !ok || string(got) != "two" {
		t.Fatalf("Get: %q %v", got, ok)
	}
	if !bytes.Equal(lent, []byte("one")) {
		t.Fatalf("a value that was lent changed to %q", lent)
	}
}

package edge

import (
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/meridian-relay/meridian/relay"
)

// A body costs memory as it arrives; past the bound of all requests the next is refused, and
// everything is given back.
func TestBodyMemory(t *testing.T) {
	a := &api{memory: memory{free: 1 << 20}}
	newCall := func(body io.Reader) *call {
		return &call{api: a, r: httptest.NewRequest("POST", "/", body)}
	}
	small := newCall(strings.NewReader("hello"))
	if b, err := small.body(100); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	// A client that promises much and sends little.
	pr, pw := io.Pipe()
	trickle := newCall(pr)
	trickle.r.ContentLength = 1 << 20
	done := make(chan error)
	go func() {
		_, err := trickle.body(1 << 20)
		done <- err
	}()
	if _, err := pw.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if used := 1<<20 - a.memory.left(); used > 50_000 {
		t.Errorf("%d bytes are held for six that came", used)
	}
	pw.CloseWithError(errors.New("the client has gone"))
	if err := <-done; err == nil || errors.Is(err, errNoMemory) {
		t.Errorf("a body that broke off: %v", err)
	}
	large := newCall(strings.NewReader(strings.Repeat("x", 200_000)))
	if _, err := large.body(1 << 20); err != nil {
		t.Errorf("200,000 bytes: %v", err)
	}
	if _, err := newCall(strings.NewReader(strings.Repeat("x", 100_000))).body(1 << 20); !errors.Is(err, errNoMemory) {
		t.Errorf("beyond the memory of all requests: %v", err)
	}
	if _, err := newCall(iotest.OneByteReader(strings.NewReader("12345"))).body(4); !errors.Is(err, errBodyTooLarge) {
		t.Errorf("beyond the bound of one: %v", err)
	}
	for _, c := range []*call{small, trickle, large} {
		a.memory.give(c.held)
	}
}

func (m *memory) left() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.free
}

func FuzzMessages(f *testing.F) {
	for _, s := range []string{`{}`, `[]`, `[{},{"payload":"x","id":"1"}]`, `{"payload_base64":"AA==","headers":{"a":"b"}}`, `null`, `[[[[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, one, err := parseMessages(b)
		if err != nil {
			return
		}
		if len(list) == 0 || len(list) > maxItems || one && len(list) != 1 {
			t.Fatalf("%d messages, one %v", len(list), one)
		}
		for i := range list {
			body, end := list[i].encode(1 << 20)
			if end.Code != 0 {
				continue
			}
			if again, _ := list[i].encode(1 << 20); !bytes.Equal(body, again) {
				t.Fatalf("%x, then %x", body, again)
			}
			if _, err := messageOf("demo:x", relay.Position{}, body); err != nil {
				t.Fatal(err)
			}
		}
	})
}

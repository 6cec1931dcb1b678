package meter

import (
	"encoding/binary"
	"net"
	"testing"
)

// control builds one control message.
func control(level, kind uint32, data []byte) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(16+len(data)))
	b = binary.NativeEndian.AppendUint32(b, level)
	b = binary.NativeEndian.AppendUint32(b, kind)
	b = append(b, data...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestPacketsOfOneCall(t *testing.T) {
	size := binary.NativeEndian.AppendUint16(nil, 1200)
	ecn := control(0, 1, []byte{2, 0, 0, 0})
	offload := control(17, 103, size)
	for _, c := range []struct {
		name  string
		bytes int
		oob   []byte
		want  uint64
	}{
		{"plain", 1200, nil, 1},
		{"ecn", 1200, ecn, 1},
		{"one full", 1200, offload, 1},
		{"two", 1201, offload, 2},
		{"three, after ecn", 3600, append(append([]byte{}, ecn...), offload...), 3},
		{"cut short", 3600, offload[:10], 1},
		{"length 0", 3600, make([]byte, 24), 1},
	} {
		conn := &Conn{}
		conn.count(c.bytes, segment(c.oob))
		if packets, calls := conn.Packets(); packets != c.want || calls != 1 {
			t.Errorf("%s: %d packets in %d calls, want %d in 1", c.name, packets, calls, c.want)
		}
	}
}

func TestConnCountsWhatItSends(t *testing.T) {
	c, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to := c.LocalAddr().(*net.UDPAddr)
	if _, err := c.WriteTo([]byte("x"), to); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.WriteMsgUDP([]byte("x"), nil, to); err != nil {
		t.Fatal(err)
	}
	if packets, calls := c.Packets(); packets != 2 || calls != 2 {
		t.Errorf("%d packets in %d calls, want 2 in 2", packets, calls)
	}
}

func TestTakeSeesMemoryAndTime(t *testing.T) {
	before, err := Take(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	held := make([]byte, 32<<20)
	for i := range held {
		held[i] = byte(i)
	}
	after, err := Take(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if held[1] != 1 || after.Heap-before.Heap < 30<<20 || after.RSS-before.RSS < 30<<20 {
		t.Errorf("32 MiB more: heap %+d, RSS %+d", after.Heap-before.Heap, after.RSS-before.RSS)
	}
	if after.CPU <= before.CPU || after.Goroutines < 1 || after.Stacks == 0 {
		t.Errorf("%+v after %+v", after, before)
	}
	held = nil
	gone, err := Take(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if gone.Heap-before.Heap > 8<<20 {
		t.Errorf("heap %+d after a collection", gone.Heap-before.Heap)
	}
}

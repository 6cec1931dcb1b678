// Package meter measures a process from within: packets, processor time and memory.
package meter

import (
	"encoding/binary"
	"net"
	"sync/atomic"
)

// A Conn is a UDP socket that counts what it sends. quic-go uses it like the socket itself,
// segmentation offload included.
type Conn struct {
	*net.UDPConn
	packets atomic.Uint64
	calls   atomic.Uint64
}

// Listen takes a UDP port on loopback, with large buffers.
func Listen() (*Conn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	const size = 4 << 20
	_ = c.SetReadBuffer(size)
	_ = c.SetWriteBuffer(size)
	return &Conn{UDPConn: c}, nil
}

// WriteMsgUDP sends one packet, or several of one size as oob says.
func (c *Conn) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	c.count(len(b), segment(oob))
	return c.UDPConn.WriteMsgUDP(b, oob, addr)
}

// WriteTo sends one packet.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	c.count(len(b), 0)
	return c.UDPConn.WriteTo(b, addr)
}

func (c *Conn) count(size, segment int) {
	c.calls.Add(1)
	if segment > 0 {
		c.packets.Add(uint64((size + segment - 1) / segment))
		return
	}
	c.packets.Add(1)
}

// Packets returns how many packets were sent, and with how many system calls.
func (c *Conn) Packets() (packets, calls uint64) { return c.packets.Load(), c.calls.Load() }

// segment returns the size in a UDP_SEGMENT control message of 64-bit Linux, 0 if there is
// none: length (8 bytes), level and type (4 each), then data, padded to 8 bytes.
func segment(oob []byte) int {
	const header, udp, udpSegment = 16, 17, 103
	for len(oob) >= header {
		size := int(binary.NativeEndian.Uint64(oob))
		level := binary.NativeEndian.Uint32(oob[8:])
		kind := binary.NativeEndian.Uint32(oob[12:])
		if size < header || size > len(oob) {
			return 0
		}
		if level == udp && kind == udpSegment && size >= header+2 {
			return int(binary.NativeEndian.Uint16(oob[header:]))
		}
		oob = oob[min((size+7)&^7, len(oob)):]
	}
	return 0
}

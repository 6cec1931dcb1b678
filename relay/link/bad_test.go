package link

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// Bytes that are not the protocol end their session with a code, and only theirs.
func TestBadBytesEndTheSession(t *testing.T) {
	hello := wire.AppendProto(nil, wire.TypeHello, 0, &wire.Hello{Token: "all"})
	after := func(b ...[]byte) []byte { return append(bytes.Clone(hello), bytes.Join(b, nil)...) }
	ping := func(ref uint64) []byte { return wire.AppendFrame(nil, wire.TypePing, ref, nil) }
	for name, c := range map[string]struct {
		bytes []byte
		fin   bool
		code  relay.Code
	}{
		"garbage":                 {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), true, relay.Protocol},
		"no Hello":                {ping(1), false, relay.Protocol},
		"Hello with a ref":        {wire.AppendProto(nil, wire.TypeHello, 1, &wire.Hello{}), false, relay.Protocol},
		"Hello is no protobuf":    {wire.AppendFrame(nil, wire.TypeHello, 0, []byte{0xff}), false, relay.Protocol},
		"Hello too long":          {wire.AppendHeader(nil, wire.TypeHello, 0, 33<<10), false, relay.TooLarge},
		"token too long":          {wire.AppendProto(nil, wire.TypeHello, 0, &wire.Hello{Token: strings.Repeat("x", 17<<10)}), false, relay.Unauthorized},
		"token unknown":           {wire.AppendProto(nil, wire.TypeHello, 0, &wire.Hello{Token: "?"}), false, relay.Unauthorized},
		"version from the future": {wire.AppendProto(nil, wire.TypeHello, 0, &wire.Hello{Token: "all", VersionMin: 9}), false, relay.Unsupported},
		"agent too long":          {wire.AppendProto(nil, wire.TypeHello, 0, &wire.Hello{Token: "all", Agent: strings.Repeat("x", 200)}), false, relay.BadRequest},
		"end before Hello":        {nil, true, relay.Protocol},
		"truncated":               {after(publishFrame(1, "chat:a", message("x"))[:5]), true, relay.Protocol},
		"second Hello":            {after(hello), false, relay.Protocol},
		"a frame that comes down": {after(wire.AppendFrame(nil, wire.TypeOK, 1, nil)), false, relay.Protocol},
		"unknown even type":       {after(wire.AppendFrame(nil, 0x3e, 1, nil)), false, relay.Unsupported},
		"ref not below 2^53":      {after(ping(1 << 53)), false, relay.Protocol},
		"ref 0":                   {after(ping(0)), false, relay.Protocol},
		"ref twice":               {after(ping(7), ping(7)), false, relay.Protocol},
		"ref backwards":           {after(ping(7), ping(6)), false, relay.Protocol},
		"varint of eleven bytes":  {after(bytes.Repeat([]byte{0xff}, 11)), false, relay.Protocol},
		"Credit for no ref":       {after(wire.AppendCredit(nil, 3, 1)), false, relay.Protocol},
		"Cancel for no ref":       {after(wire.AppendFrame(nil, wire.TypeCancel, 3, nil)), false, relay.Protocol},
		"Subscribe too long":      {after(wire.AppendHeader(nil, wire.TypeSubscribe, 1, 3<<10)), false, relay.TooLarge},
		"Publish far too long":    {after(wire.AppendHeader(nil, wire.TypePublish, 1, 17<<20)), false, relay.TooLarge},
		"Refresh is no protobuf":  {after(wire.AppendFrame(nil, wire.TypeRefresh, 1, []byte{0xff})), false, relay.Protocol},
		"Credit is no protobuf":   {after(ping(1), wire.AppendFrame(nil, wire.TypeCredit, 1, []byte{0xff})), false, relay.Protocol},
		"credit beyond bounds": {after(
			wire.AppendProto(nil, wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a"}),
			wire.AppendCredit(nil, 1, 1<<53-1), wire.AppendCredit(nil, 1, 1<<53-1)), false, relay.Protocol},
		"huge unknown odd frame": {after(wire.AppendHeader(nil, 0x3f, 1, 1<<20)), false, relay.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := serve(t, 1<<20)
				for i := range c.bytes { // a byte at a time
					g.write(c.bytes[i : i+1])
				}
				if c.fin {
					_ = g.stream.Close()
				}
				var said relay.End
				for {
					f, err := g.r.Next()
					if err != nil {
						break
					}
					if f.Type == wire.TypeEnd && f.Ref == 0 {
						said, _, _ = parseEnd(f.Body)
					}
				}
				e := closeError(g.client)
				if e.Code != c.code || said.Code != c.code || said.Detail == "" {
					t.Errorf("closed with %v, said %v %q; want %v", e.Code, said.Code, said.Detail, c.code)
				}
				g.close()
			})
		})
	}
}

// Requests that ask for something impossible are refused one by one; the session goes on.
func TestBadRequests(t *testing.T) {
	body := message("x")
	publish := func(v wire.PublishView) func(uint64) []byte {
		return func(ref uint64) []byte { return wire.AppendPublish(nil, ref, v) }
	}
	subscribe := func(m *wire.Subscribe) func(uint64) []byte {
		return func(ref uint64) []byte { return wire.AppendProto(nil, wire.TypeSubscribe, ref, m) }
	}
	producer := bytes.Repeat([]byte{7}, 16)
	channel := []byte("chat:a")
	withKey := func(n int) []byte { return must(&wire.Message{Key: strings.Repeat("k", n)}) }
	for name, c := range map[string]struct {
		request func(ref uint64) []byte
		code    relay.Code
	}{
		"publish: no channel":          {publish(wire.PublishView{Body: body}), relay.BadChannel},
		"publish: no namespace":        {publish(wire.PublishView{Channel: []byte("lobby"), Body: body}), relay.BadChannel},
		"publish: empty name":          {publish(wire.PublishView{Channel: []byte("chat:"), Body: body}), relay.BadChannel},
		"publish: name too long":       {publish(wire.PublishView{Channel: []byte("chat:" + strings.Repeat("x", 193)), Body: body}), relay.BadChannel},
		"publish: name not UTF-8":      {publish(wire.PublishView{Channel: []byte("chat:\xff"), Body: body}), relay.BadChannel},
		"publish: control character":   {publish(wire.PublishView{Channel: []byte("chat:a\nb"), Body: body}), relay.BadChannel},
		"publish: payload too large":   {publish(wire.PublishView{Channel: channel, Body: message(strings.Repeat("x", 65_537))}), relay.TooLarge},
		"publish: frame too large":     {publish(wire.PublishView{Channel: channel, Body: message(strings.Repeat("x", 2<<20))}), relay.TooLarge},
		"publish: key too large":       {publish(wire.PublishView{Channel: channel, Body: withKey(257)}), relay.TooLarge},
		"publish: headers too large":   {publish(wire.PublishView{Channel: channel, Body: must(&wire.Message{Headers: map[string]string{"h": strings.Repeat("x", 4096)}})}), relay.TooLarge},
		"publish: sets the publisher":  {publish(wire.PublishView{Channel: channel, Body: must(&wire.Message{Publisher: "bob"})}), relay.BadRequest},
		"publish: sets the subject":    {publish(wire.PublishView{Channel: channel, Subject: []byte("bob"), Body: body}), relay.BadRequest},
		"publish: body is no protobuf": {publish(wire.PublishView{Channel: channel, Body: []byte{0xff}}), relay.BadRequest},
		"publish: producer too short":  {publish(wire.PublishView{Channel: channel, Producer: producer[:15], N: 1, Body: body}), relay.BadRequest},
		"publish: producer is zero":    {publish(wire.PublishView{Channel: channel, Producer: make([]byte, 16), N: 1, Body: body}), relay.BadRequest},
		"publish: number 0":            {publish(wire.PublishView{Channel: channel, Producer: producer, Body: body}), relay.BadRequest},
		"publish: number too large":    {publish(wire.PublishView{Channel: channel, Producer: producer, N: 1 << 53, Body: body}), relay.BadRequest},
		"publish: no producer, number": {publish(wire.PublishView{Channel: channel, N: 1, Body: body}), relay.BadRequest},
		"publish: void with a body":    {publish(wire.PublishView{Channel: channel, Producer: producer, N: 1, Void: true, Body: body}), relay.BadRequest},
		"publish: no protobuf":         {func(ref uint64) []byte { return wire.AppendFrame(nil, wire.TypePublish, ref, []byte{0xff}) }, relay.BadRequest},
		"subscribe: no channel":        {subscribe(&wire.Subscribe{}), relay.BadChannel},
		"subscribe: sets the subject":  {subscribe(&wire.Subscribe{Channel: "chat:a", Subject: "bob"}), relay.BadRequest},
		"subscribe: unknown mode":      {subscribe(&wire.Subscribe{Channel: "chat:a", Mode: 7}), relay.BadRequest},
		"subscribe: unknown start":     {subscribe(&wire.Subscribe{Channel: "chat:a", Start: 9}), relay.BadRequest},
		"subscribe: negative mode":     {subscribe(&wire.Subscribe{Channel: "chat:a", Mode: -1}), relay.BadRequest},
		"subscribe: negative start":    {subscribe(&wire.Subscribe{Channel: "chat:a", Start: -1}), relay.BadRequest},
		"subscribe: position too high": {subscribe(&wire.Subscribe{Channel: "chat:a", Start: 1, Seq: 1 << 53}), relay.BadRequest},
		"subscribe: credit too high":   {subscribe(&wire.Subscribe{Channel: "chat:a", Credit: 1 << 53}), relay.BadRequest},
		"subscribe: datagram reliable": {subscribe(&wire.Subscribe{Channel: "chat:a", Datagram: true}), relay.BadRequest},
		"subscribe: no protobuf":       {func(ref uint64) []byte { return wire.AppendFrame(nil, wire.TypeSubscribe, ref, []byte{0xff}) }, relay.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := serve(t, 4<<20)
				g.hello("all", 0, 0)
				g.write(c.request(1))
				if e := g.wantEnd(1, c.code); e.Detail == "" || len(e.Detail) > maxDetail {
					t.Errorf("detail %q", e.Detail)
				}
				g.write(publishFrame(2, "chat:a", body))
				if f := g.next(); f.Type != wire.TypeOK || f.Ref != 2 {
					t.Errorf("after it got %v of ref %d; the session must go on", f.Type, f.Ref)
				}
				if len(g.home.got) != 1 || len(g.home.reqs) != 0 {
					t.Errorf("%d publishes and %d subscriptions went upstream; want only the good one", len(g.home.got), len(g.home.reqs))
				}
				g.close()
			})
		})
	}
}

// Acts without the capability are refused by name.
func TestForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("sub", 0, 0)
		g.write(publishFrame(1, "chat:a", message("x")))
		if e := g.wantEnd(1, relay.Forbidden); !strings.Contains(e.Detail, "publish") || !strings.Contains(e.Detail, "chat:a") {
			t.Errorf("detail %q names neither action nor channel", e.Detail)
		}
		for ref, m := range []*wire.Subscribe{
			{Channel: "chat:a", Limit: 5},
			{Channel: "chat:a", Start: wire.Start_START_LAST, Count: 5},
			{Channel: "chat:a", Start: wire.Start_START_FIRST},
			{Channel: "chat:a", Start: wire.Start_START_SINCE, SinceMs: 5},
		} {
			g.send(wire.TypeSubscribe, uint64(ref+2), m)
			g.wantEnd(uint64(ref+2), relay.Forbidden)
		}
		g.send(wire.TypeSubscribe, 9, &wire.Subscribe{Channel: "chat:a", Start: wire.Start_START_AFTER, Epoch: 1})
		if f := g.next(); f.Type != wire.TypeOK {
			t.Errorf("got %v; a position needs no history", f.Type)
		}
		g.close()
	})
}

// Credit and Cancel for a request that has ended are late, not wrong; Cancel ends once.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 0)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a"})
		for range 3 {
			g.write(wire.AppendFrame(nil, wire.TypeCancel, 1, nil))
			g.write(wire.AppendCredit(nil, 1, 1000))
		}
		g.wantEnd(1, relay.Cancelled)
		g.write(wire.AppendFrame(nil, wire.TypePing, 2, nil))
		if f := g.next(); f.Type != wire.TypePong {
			t.Errorf("got %v; want Pong, and no second End", f.Type)
		}
		if !g.home.sub("chat:a").isClosed() {
			t.Error("the upstream subscription is still open")
		}
		g.close()
	})
}

// A subscription without credit can still be cancelled.
func TestCancelWithoutCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 0)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a", Credit: 1})
		synctest.Wait()
		g.home.sub("chat:a").messages(100, 100)
		synctest.Wait()
		g.write(wire.AppendFrame(nil, wire.TypeCancel, 1, nil))
		g.wantEnd(1, relay.Cancelled)
		g.close()
	})
}

// Further request streams have their own refs and answers; each ends by itself.
func TestFurtherStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 3)
		second, _ := g.client.Open(t.Context())
		r := wire.NewReader(second)
		_, _ = second.Write(publishFrame(10, "chat:a", message("x")))
		if f := readFrame(t, r); f.Type != wire.TypeOK || f.Ref != 10 {
			t.Errorf("got %v of ref %d on the second stream", f.Type, f.Ref)
		}
		_, _ = second.Write(wire.AppendProto(nil, wire.TypeSubscribe, 11, &wire.Subscribe{Channel: "chat:a"}))
		_ = second.Close()
		if f := readFrame(t, r); f.Type != wire.TypeOK || f.Ref != 11 {
			t.Errorf("got %v of ref %d on the second stream", f.Type, f.Ref)
		}
		g.home.sub("chat:a").push(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: relay.Done}})
		if f := readFrame(t, r); f.Type != wire.TypeEnd {
			t.Errorf("got %v; want End", f.Type)
		}
		if _, err := r.Next(); err == nil {
			t.Error("no FIN after the last answer")
		}
		third, _ := g.client.Open(t.Context())
		_, _ = third.Write(wire.AppendProto(nil, wire.TypeSubscribe, 20, &wire.Subscribe{Channel: "chat:b"}))
		synctest.Wait()
		third.CancelWrite(relay.Cancelled)
		third.CancelRead(relay.Cancelled)
		synctest.Wait()
		if !g.home.sub("chat:b").isClosed() {
			t.Error("the subscription outlived the reset of its stream")
		}
		g.write(wire.AppendFrame(nil, wire.TypePing, 1, nil))
		if f := g.next(); f.Type != wire.TypePong {
			t.Errorf("got %v; the session must go on", f.Type)
		}
		g.close()
	})
}

// A ref in use on one stream cannot be used on another.
func TestRefOnTwoStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 3)
		g.send(wire.TypeSubscribe, 5, &wire.Subscribe{Channel: "chat:a"})
		g.next()
		second, _ := g.client.Open(t.Context())
		_, _ = second.Write(wire.AppendProto(nil, wire.TypeSubscribe, 5, &wire.Subscribe{Channel: "chat:a"}))
		g.wantEnd(0, relay.Protocol)
		g.close()
	})
}

// Streams that are opened and reset in a loop end the session.
func TestStreamsOpenedAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 15)
		var opened int
		closing := func() bool {
			g.server.mu.Lock()
			defer g.server.mu.Unlock()
			return g.server.closing
		}
		for !closing() && opened < 10_000 {
			s, _ := g.client.Open(t.Context())
			s.CancelWrite(relay.Cancelled)
			s.CancelRead(relay.Cancelled)
			opened++
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(closeWithin)
		if e := closeError(g.client); e.Code != relay.RequestRate || opened > 500 {
			t.Errorf("closed with %v after %d streams", e.Code, opened)
		}
		g.close()
	})
}

// Slower than that, for minutes, they leave nothing behind.
func TestStreamsOpenedAndResetForMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 4, 15)
		const perSecond, opened = 40, 40 * 180
		before := runtime.NumGoroutine()
		for i := range uint64(opened) {
			s, _ := g.client.Open(t.Context())
			b := wire.AppendProto(nil, wire.TypeSubscribe, 2*i+1, &wire.Subscribe{Channel: "chat:a", Own: i%2 == 0})
			_, _ = s.Write(append(b, publishFrame(2*i+2, "chat:a", message("x"))...))
			synctest.Wait()
			s.CancelWrite(relay.Cancelled)
			s.CancelRead(relay.Cancelled)
			time.Sleep(time.Second / perSecond)
			for len(g.client.unis) > 0 {
				<-g.client.unis
			}
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; g.client.ctx.Err() != nil || n > 4 || g.gate.subs != 0 || len(g.server.feeds) != 0 || len(g.server.streams) != 0 || g.server.ownLanes != 0 {
			t.Errorf("after %d streams: %v; %d goroutines, %d subscriptions, %d feeds, %d streams, %d lanes are left",
				opened, g.client.ctx.Err(), n, g.gate.subs, len(g.server.feeds), len(g.server.streams), g.server.ownLanes)
		}
		g.close()
	})
}

// What the Gate refuses carries its code.
func TestGateRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.gate.refuse = relay.End{Code: relay.PublishRate, RetryAfter: 250 * time.Millisecond}
		g.hello("all", 0, 0)
		g.write(publishFrame(1, "chat:a", message("x")))
		if e := g.wantEnd(1, relay.PublishRate); e.RetryAfter != 250*time.Millisecond {
			t.Errorf("retry after %v", e.RetryAfter)
		}
		g.home.busy = true
		g.gate.refuse = relay.End{}
		g.write(publishFrame(2, "chat:a", message("x")))
		if e := g.wantEnd(2, relay.Busy); e.RetryAfter == 0 {
			t.Error("busy without retry_after")
		}
		g.close()
	})
}

func must(m *wire.Message) []byte {
	b := wire.AppendProto(nil, wire.TypePing, 0, m)
	_, n := protowire.ConsumeVarint(b[2:])
	if n < 0 {
		panic(fmt.Sprint("bad header: ", b[:4]))
	}
	return b[2+n:]
}

// Credit and Cancel reach only subscriptions of their own stream.
func TestCancelFromAnotherStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 3)
		g.send(wire.TypeSubscribe, 5, &wire.Subscribe{Channel: "chat:a"})
		g.next()
		second, _ := g.client.Open(t.Context())
		b := wire.AppendFrame(nil, wire.TypePing, 9, nil)
		_, _ = second.Write(wire.AppendFrame(b, wire.TypeCancel, 5, nil))
		synctest.Wait()
		if g.home.sub("chat:a").isClosed() {
			t.Error("a subscription was cancelled from another stream")
		}
		g.close()
	})
}

// Before Hello a session holds no long frame; a flood of small ones ends it.
func TestSmallFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.write(wire.AppendHeader(nil, wire.TypeSubscribe, 0, 40<<10))
		g.wantEnd(0, relay.TooLarge)
		g.close()
	})
	for token, ends := range map[string]bool{"all": true, "hop": false} {
		smallFrames(t, token, ends)
	}
}

// smallFrames sends 100,000 Pings at once; they end a client's session, not a hop's.
func smallFrames(t *testing.T, token string, ends bool) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello(token, 0, 0)
		go func() { // reads the answers
			for {
				if _, err := g.r.Next(); err != nil {
					return
				}
			}
		}()
		var b []byte
		for ref := uint64(1); g.client.ctx.Err() == nil && ref < 100_000; ref++ {
			if b = wire.AppendFrame(b, wire.TypePing, ref, nil); len(b) > 1000 {
				if _, err := g.stream.Write(b); err != nil {
					break
				}
				b = b[:0]
			}
		}
		if !ends {
			synctest.Wait()
			if g.client.ctx.Err() != nil {
				t.Errorf("a hop's session was closed: %v", context.Cause(g.client.ctx))
			}
		} else if e := closeError(g.client); e.Code != relay.RequestRate {
			t.Errorf("closed with %v; want request_rate", e.Code)
		}
		g.close()
	})
}

// Publishes that are refused are paced like other requests: no rate of the Gate's holds them.
func TestRefusedPublishesArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 0)
		go func() { // reads the answers
			for {
				if _, err := g.r.Next(); err != nil {
					return
				}
			}
		}()
		for ref := uint64(1); g.client.ctx.Err() == nil && ref < 200_000; ref++ {
			if _, err := g.stream.Write(publishFrame(ref, "no channel", nil)); err != nil {
				break
			}
		}
		synctest.Wait()
		if g.client.ctx.Err() == nil {
			t.Fatal("200,000 publishes were refused in an instant, and the session goes on")
		}
		if e := closeError(g.client); e.Code != relay.RequestRate {
			t.Errorf("closed with %v; want request_rate", e.Code)
		}
		g.close()
	})
}

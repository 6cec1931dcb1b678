package link

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

func publishFrame(ref uint64, channel string, body []byte) []byte {
	return wire.AppendPublish(nil, ref, wire.PublishView{Channel: []byte(channel), Body: body})
}

func message(payload string) []byte {
	b, err := proto.Marshal(&wire.Message{Payload: []byte(payload)})
	if err != nil {
		panic(err)
	}
	return b
}

// Requests may follow Hello at once: they are answered after Welcome, in order.
func TestPipelinedBehindHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		b := wire.AppendProto(nil, wire.TypeHello, 0, &wire.Hello{Token: "all"})
		b = append(b, publishFrame(1, "chat:a", message("x"))...)
		b = wire.AppendFrame(b, wire.TypePing, 2, nil)
		g.write(b)
		if f := g.next(); f.Type != wire.TypeWelcome {
			t.Fatalf("got %v, want Welcome first", f.Type)
		}
		seen := map[wire.Type]uint64{}
		for range 2 {
			f := g.next()
			seen[f.Type] = f.Ref
		}
		if seen[wire.TypeOK] != 1 || seen[wire.TypePong] != 2 {
			t.Errorf("answers: %v", seen)
		}
		g.close()
	})
}

// Credit paces a subscription: past it nothing comes, and the upstream is not asked.
func TestCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 0)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a", Credit: 1000})
		if f := g.next(); f.Type != wire.TypeOK {
			t.Fatalf("got %v, want OK", f.Type)
		}
		sub := g.home.sub("chat:a")
		sub.messages(100, 300)
		synctest.Wait()
		received := func() (n int) {
			for g.r.Buffered() > 0 || g.unread() > 0 {
				if f := g.next(); f.Type != wire.TypeMessage {
					t.Fatalf("got %v", f.Type)
				}
				n++
			}
			return n
		}
		if n := received(); n != 4 { // 3 × 300 < 1000: one more may go, below zero
			t.Errorf("%d messages came for 1000 bytes of credit; want 4", n)
		}
		pulls := sub.pulls
		time.Sleep(time.Minute)
		if sub.pulls != pulls {
			t.Errorf("without credit the upstream was asked %d times more", sub.pulls-pulls)
		}
		g.write(wire.AppendCredit(nil, 1, 200+300)) // pays the debt of 200, and one message
		synctest.Wait()
		if n := received(); n != 1 {
			t.Errorf("%d messages came for credit of one; want 1", n)
		}
		g.close()
	})
}

// unread returns how many bytes of the first stream the client has not read.
func (g *rig) unread() int {
	h := g.stream.(pipeStream).pipeReader.h
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.buf)
}

// A Pong overtakes what waits of a flooded subscription.
func TestControlOvertakesData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 4096)
		g.hello("all", 0, 0)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a", Credit: 1 << 30})
		synctest.Wait()
		g.home.sub("chat:a").messages(10_000, 1000)
		synctest.Wait() // the writer is blocked
		g.write(wire.AppendFrame(nil, wire.TypePing, 2, nil))
		synctest.Wait()
		var before int
		for {
			f := g.next()
			if f.Type == wire.TypePong {
				break
			}
			before += len(f.Body)
		}
		if most := writeSize + 4096 + 2000; before > most {
			t.Errorf("%d bytes came before the Pong; want at most %d: one write and the pipe", before, most)
		}
		g.close()
	})
}

// Subscriptions on one stream share it by bytes, whatever the size of their messages.
func TestFairShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 4096)
		g.hello("all", 0, 0)
		sizes := map[string]int{"chat:large": 20_000, "chat:small": 100}
		ref := map[uint64]string{}
		for name := range sizes {
			ref[uint64(len(ref)+1)] = name
			g.send(wire.TypeSubscribe, uint64(len(ref)), &wire.Subscribe{Channel: name, Credit: 1 << 30})
		}
		synctest.Wait()
		g.home.sub("chat:large").messages(500, 20_000)
		g.home.sub("chat:small").messages(20_000, 100)
		got := map[string]int{}
		for got["chat:small"] < 500_000 {
			if f := g.next(); f.Type == wire.TypeMessage {
				got[ref[f.Ref]] += len(f.Body)
			}
		}
		if ratio := float64(got["chat:large"]) / float64(got["chat:small"]); ratio < 0.8 || ratio > 1.25 {
			t.Errorf("bytes large %d, small %d: ratio %.2f; want about 1", got["chat:large"], got["chat:small"], ratio)
		}
		g.close()
	})
}

// What waits leaves together: many small messages share a write.
func TestWritesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<24)
		g.hello("all", 0, 0)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a", Credit: 1 << 30})
		synctest.Wait()
		h := g.stream.(pipeStream).pipeReader.h
		before := h.writes
		g.home.sub("chat:a").messages(1000, 128)
		synctest.Wait()
		if n := h.writes - before; n > 15 {
			t.Errorf("%d writes for 1000 messages of 128 bytes; want at most 15", n)
		}
		g.close()
	})
}

// A stream of its own that accepts nothing for 30 s ends its subscription alone; the End comes
// on the stream of the request, with the last position.
func TestSlowReaderOwnStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 4096)
		g.hello("all", 4, 0)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a", Own: true, Credit: 1 << 30})
		g.send(wire.TypeSubscribe, 2, &wire.Subscribe{Channel: "chat:b", Credit: 1 << 30})
		synctest.Wait()
		g.home.sub("chat:a").messages(1000, 1000)
		start := time.Now()
		e := g.wantEnd(1, relay.SlowReader)
		if d := time.Since(start); d < stallAfter || d > 2*stallAfter {
			t.Errorf("ended after %v; want 30 s to 60 s", d)
		}
		if !strings.Contains(e.Detail, "30 s") {
			t.Errorf("detail %q does not say why", e.Detail)
		}
		g.home.sub("chat:b").messages(1, 10)
		if f := g.next(); f.Type != wire.TypeMessage || f.Ref != 2 {
			t.Errorf("got %v of ref %d; the other subscription must go on", f.Type, f.Ref)
		}
		g.close()
	})
}

// A first stream that accepts nothing ends the session.
func TestSlowReaderFirstStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 4096)
		g.hello("all", 0, 0)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a", Credit: 1 << 30})
		synctest.Wait()
		g.home.sub("chat:a").messages(1000, 1000)
		<-g.client.ctx.Done()
		if e := closeError(g.client); e.Code != relay.SlowReader {
			t.Errorf("closed with %v; want slow_reader", e.Code)
		}
		g.close()
	})
}

func closeError(s *pipeSession) *relay.CloseError {
	<-s.ctx.Done()
	return sessionError(s, nil).(*relay.CloseError)
}

// A session at rest has no goroutine that writes.
func TestNoWriterAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<24)
		g.hello("all", 100, 0)
		synctest.Wait()
		for i := range 100 {
			g.send(wire.TypeSubscribe, uint64(i+1), &wire.Subscribe{Channel: "chat:a", Own: i%2 == 0, Credit: 1 << 20})
		}
		synctest.Wait()
		g.home.sub("chat:a").messages(10, 10)
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if n := bytes.Count(stacks, []byte("link.(*lane).write(")); n != 0 {
			t.Errorf("%d writers at rest, with 100 subscriptions", n)
		}
		g.client.Close(relay.Done, "")
		<-g.ended
	})
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		start := time.Now()
		g.hello("short", 0, 0)
		g.wantEnd(0, relay.TokenExpired)
		if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("ended after %v; the token lives 10 s", d)
		}
		if e := closeError(g.client); e.Code != relay.TokenExpired {
			t.Errorf("closed with %v", e.Code)
		}
		g.close()
	})
}

// A new token takes force at once: what it does not allow ends.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("short", 0, 0)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "chat:a"})
		g.next()
		g.send(wire.TypeRefresh, 2, &wire.Refresh{Token: "wrong"})
		g.wantEnd(2, relay.Unauthorized)
		g.send(wire.TypeRefresh, 3, &wire.Refresh{Token: "pub"})
		got := map[uint64]wire.Type{}
		for range 2 {
			f := g.next()
			got[f.Ref] = f.Type
		}
		if got[1] != wire.TypeEnd || got[3] != wire.TypeOK {
			t.Errorf("got %v; want the End of ref 1 and the OK of ref 3", got)
		}
		time.Sleep(time.Hour) // the new token has no end
		g.send(wire.TypeSubscribe, 4, &wire.Subscribe{Channel: "chat:a"})
		g.wantEnd(4, relay.Forbidden)
		g.write(publishFrame(5, "chat:a", message("x")))
		if f := g.next(); f.Type != wire.TypeOK || f.Ref != 5 {
			t.Errorf("got %v of ref %d; want OK", f.Type, f.Ref)
		}
		g.send(wire.TypeRefresh, 6, &wire.Refresh{Token: "bob"})
		g.wantEnd(0, relay.Unauthorized)
		g.close()
	})
}

// A datagram that would block holds nothing else; a message too long for one takes the stream.
func TestDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 0)
		g.send(wire.TypeSubscribe, 1, &wire.Subscribe{Channel: "cur:a", Mode: wire.Mode_MODE_LATEST, Datagram: true})
		g.send(wire.TypeSubscribe, 2, &wire.Subscribe{Channel: "chat:a"})
		synctest.Wait()
		for range 2 {
			g.next()
		}
		sub := g.home.sub("cur:a")
		sub.messages(20, 50) // the pipe holds 4 datagrams
		synctest.Wait()
		g.home.sub("chat:a").messages(1, 10)
		if f := g.next(); f.Type != wire.TypeMessage || f.Ref != 2 {
			t.Errorf("got %v of ref %d; want the message of the other subscription", f.Type, f.Ref)
		}
		for i := range 20 {
			b, err := g.client.ReceiveDatagram(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ref, epoch, seq, body, err := wire.ScanDatagram(b)
			if err != nil || ref != 1 || epoch != 1 || seq != uint64(i+1) || len(body) != 50 {
				t.Errorf("datagram %d: ref %d, %d:%d, %d bytes, %v", i, ref, epoch, seq, len(body), err)
			}
		}
		sub.messages(1, 2000)
		if f := g.next(); f.Type != wire.TypeMessage || f.Ref != 1 {
			t.Errorf("got %v of ref %d; want the long message on the stream", f.Type, f.Ref)
		}
		g.close()
	})
}

// Unanswered publishes are bounded; answers that nobody reads stop the reading of requests.
func TestUnansweredIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 0)
		g.home.answer = func(relay.Publication) (relay.Position, relay.End, bool) {
			return relay.Position{}, relay.End{}, false
		}
		body := message(strings.Repeat("x", 60_000))
		for ref := uint64(1); ref <= 18; ref++ {
			g.write(publishFrame(ref, "chat:a", body))
		}
		e := g.wantEnd(18, relay.Busy)
		if e.RetryAfter == 0 {
			t.Error("busy without retry_after")
		}
		if n := len(g.home.got); n != 17 {
			t.Errorf("%d publishes went upstream; want 17", n)
		}
		g.close()
	})
}

func TestAnswersNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 4096)
		g.hello("all", 0, 0)
		ping := bytes.Repeat(wire.AppendFrame(nil, wire.TypePing, 0, nil), 1)
		sent := make(chan int, 1)
		go func() {
			var n int
			for ref := uint64(1); ref <= 1_000_000; ref++ {
				ping = wire.AppendFrame(ping[:0], wire.TypePing, ref, nil)
				if _, err := g.stream.Write(ping); err != nil {
					break
				}
				n++
			}
			sent <- n
		}()
		if e := closeError(g.client); e.Code != relay.SlowReader {
			t.Errorf("closed with %v; want slow_reader", e.Code)
		}
		if n := <-sent; n > 100_000 {
			t.Errorf("%d pings were taken from a peer that reads no answer", n)
		}
		<-g.ended
	})
}

// Tokens that two streams bring at once: the session ends with the one in force, not with the other.
func TestRefreshOnTwoStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 3)
		second, _ := g.client.Open(t.Context())
		r := wire.NewReader(second)
		for i := range uint64(10_000) {
			g.send(wire.TypeRefresh, 2*i+1, &wire.Refresh{Token: "all"})
			_, _ = second.Write(wire.AppendProto(nil, wire.TypeRefresh, 2*i+2, &wire.Refresh{Token: "short"}))
			g.next()
			readFrame(t, r)
			g.server.mu.Lock()
			ends := g.server.expiry != nil
			g.server.mu.Unlock()
			if grant := g.server.Grant(); ends == grant.Expires.IsZero() {
				t.Errorf("round %d: the token in force expires at %v; the session ends with it: %v", i, grant.Expires, ends)
				break
			}
		}
		g.close()
	})
}

// A subscription that opens while another stream brings a token that does not allow it, ends too.
func TestSubscribeWhileTheTokenChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := serve(t, 1<<20)
		g.hello("all", 0, 3)
		second, _ := g.client.Open(t.Context())
		r := wire.NewReader(second)
		go func() {
			for {
				if _, err := r.Next(); err != nil {
					return
				}
			}
		}()
		for i := range uint64(5000) {
			g.send(wire.TypeRefresh, 3*i+1, &wire.Refresh{Token: "all"})
			g.next()
			_, _ = second.Write(wire.AppendProto(nil, wire.TypeSubscribe, 3*i+2, &wire.Subscribe{Channel: "chat:a"}))
			g.send(wire.TypeRefresh, 3*i+3, &wire.Refresh{Token: "pub"})
			g.next()
			synctest.Wait()
			if g.gate.subs != 0 {
				t.Errorf("round %d: a subscription goes on that the token does not allow", i)
				break
			}
		}
		g.close()
	})
}

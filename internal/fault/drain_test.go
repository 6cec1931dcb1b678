package fault

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/wire"
)

// drainWithin is the longest that a healed fleet takes to answer what is unanswered, and to bring
// everything to everybody. It holds the backoff of everybody on the way.
const drainWithin = 60 * time.Second

// healthy waits until something that was published after the call was acknowledged on every
// channel, which shows that the fleet has recovered.
func (l *load) healthy() {
	l.t.Helper()
	l.mu.Lock()
	before := make(map[relay.Channel]relay.Position)
	for _, ch := range l.channels {
		before[ch] = l.acked[ch]
	}
	l.mu.Unlock()
	l.await("every channel to be published to", func() string {
		l.mu.Lock()
		defer l.mu.Unlock()
		for ch, at := range before {
			if !at.Before(l.acked[ch]) {
				return fmt.Sprintf("%s stands at %v", ch, at)
			}
		}
		return ""
	})
}

// await waits until missing returns nothing.
func (l *load) await(what string, missing func() string) {
	l.t.Helper()
	for deadline := time.Now().Add(drainWithin); ; {
		lacks := missing()
		if lacks == "" {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("waited %v for %s: %s", drainWithin, what, lacks)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// drain ends the load, and waits until everybody has everything.
func (l *load) drain() {
	l.t.Helper()
	l.stopSend()
	answered := make(chan struct{})
	go func() { l.senders.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-time.After(drainWithin):
		l.t.Fatalf("publishes without an answer %v after the last one", drainWithin)
	}
	l.await("subscribers to have everything", func() string {
		for _, s := range l.subs {
			if err := s.failed.Load(); err != nil {
				l.t.Fatalf("subscription to %s ended: %v", s.channel, *err)
			}
			if at := s.at.Load(); at == nil || at.Before(l.acked[s.channel]) {
				last := "nothing"
				if p := s.last.Load(); p != nil {
					last = *p
				}
				return fmt.Sprintf("%s: at %v of %v; last came %s", s.channel, at, l.acked[s.channel], last)
			}
		}
		return ""
	})
	for _, s := range l.subs {
		s.rec.Drained()
	}
	l.stopRead()
	l.readers.Wait()
}

// judge drains the load, reads every replica, and has the promises checked.
func (l *load) judge() {
	l.t.Helper()
	l.drain()
	l.replicas(l.f.nodes)
	v := l.verdict()
	c := v.Counts
	l.t.Logf("%d acknowledged, %d open of which %d appeared, %d delivered, %d resumed, %d histories; longest without an acknowledgement %v",
		c.Acknowledged, c.Open, c.Appeared, c.Messages, c.Resumed, c.Histories, l.worst.Round(time.Millisecond))
	if c.Acknowledged == 0 || c.Histories < len(l.f.nodes)*len(l.kept()) {
		l.t.Errorf("the verdict rests on nothing: %+v", c)
	}
	if !v.OK() {
		var text strings.Builder
		_ = v.Print(&text)
		l.t.Errorf("promises broken:\n%s", &text)
	}
}

// kept are the channels that stand on disks.
func (l *load) kept() (list []relay.Channel) {
	for _, ch := range l.channels {
		if ch.Namespace() != brief {
			list = append(list, ch)
		}
	}
	return list
}

// replicas records what each node has of each channel.
func (l *load) replicas(nodes []*node) {
	l.t.Helper()
	r := l.recorder("replicas")
	for i, x := range nodes {
		asker := l.f.nodes[(i+1)%len(l.f.nodes)]
		if asker == x {
			asker = l.f.nodes[i]
		}
		up, end := l.f.link(x, asker.name)
		for _, ch := range l.kept() {
			var frames []relay.Frame
			l.await(fmt.Sprintf("%s to have all of %s", x.name, ch), func() string {
				var err error
				if frames, err = history(up, ch); err != nil {
					return err.Error()
				}
				for _, f := range frames {
					if f.Kind == relay.KindMessage && !f.At.Before(l.acked[ch]) {
						return ""
					}
				}
				return fmt.Sprintf("%d frames, without %v", len(frames), l.acked[ch])
			})
			s := r.Replica(x.name, ch)
			for _, f := range frames {
				s.Frame(f, payload(f.Body))
			}
		}
		end()
	}
}

func payload(body []byte) []byte {
	var m wire.Message
	_ = proto.Unmarshal(body, &m) // the digest of nothing is found wrong
	return m.Payload
}

// link asks a node for its own replicas, as another node does.
func (f *fleet) link(to *node, as string) (relay.Upstream, func()) {
	f.t.Helper()
	cert, err := tls.LoadX509KeyPair(f.file(as+".pem"), f.file(as+".key"))
	f.must(err)
	d, err := transport.NewDialer(transport.DialerConfig{
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: f.roots}, AnyHost: true,
	})
	f.must(err)
	ctx, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	session, err := d.QUIC(ctx, to.listen.String())
	f.must(err)
	up, err := link.Connect(ctx, link.Config{Session: session, Agent: "faults", Default: link.Options{Window: -1}})
	f.must(err)
	return up, func() {
		up.Close(relay.Done, "read")
		_ = d.Close()
	}
}

// history returns all that stands in a channel, as frames of which the bodies are copies.
func history(up relay.Upstream, ch relay.Channel) (list []relay.Frame, err error) {
	woken := make(chan struct{}, 1)
	sub := up.Subscribe(relay.SubscribeRequest{
		Channel: ch, From: relay.Start{Kind: relay.StartFirst}, Limit: relay.MaxNumber,
	}, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	defer sub.Close()
	late := time.After(10 * time.Second)
	for {
		frames := sub.Next(nil, 1<<20)
		for _, f := range frames {
			f.Body = append([]byte(nil), f.Body...)
			if f.Kind == relay.KindEnd {
				if f.End.Code != relay.Done {
					return nil, fmt.Errorf("history of %s: %s %s", ch, f.End.Code, f.End.Detail)
				}
				return append(list, f), nil
			}
			list = append(list, f)
		}
		if len(frames) > 0 {
			continue
		}
		select {
		case <-woken:
		case <-late:
			return nil, fmt.Errorf("history of %s: %w after %d frames", ch, os.ErrDeadlineExceeded, len(list))
		}
	}
}

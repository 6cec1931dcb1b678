package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// feeds publishes at the home. The payloads of a channel are 1, 2, 3 … in decimal, over all
// commands and homes, padded with spaces.
type feeds struct {
	mu   sync.Mutex
	next map[string]*feed
}

type feed struct {
	mu sync.Mutex // held by one command
	n  int        // the last number used
}

func (f *feeds) of(channel string) *feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = make(map[string]*feed)
	}
	if f.next[channel] == nil {
		f.next[channel] = &feed{}
	}
	return f.next[channel]
}

// fed says what a publish command did: the number and position of its last message.
type fed struct {
	N     int    `json:"n"`
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// publish publishes c.Count messages. It returns when all are acknowledged.
func (f *feeds) publish(ctx context.Context, to func() relay.Upstream, c command) (*fed, error) {
	feed := f.of(c.Channel)
	feed.mu.Lock()
	defer feed.mu.Unlock()
	type verdict struct {
		at  relay.Position
		end relay.End
	}
	verdicts := make(chan verdict, c.Count)
	began, sent := time.Now(), 0
	for sent < c.Count && ctx.Err() == nil {
		if c.Rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(sent) * time.Second / time.Duration(c.Rate))))
		}
		text := strconv.Itoa(feed.n + 1)
		body, err := proto.Marshal(&wire.Message{
			Payload: []byte(text + strings.Repeat(" ", max(0, c.Size-len(text)))), Key: c.Key,
		})
		if err != nil {
			return nil, err
		}
		err = to().Publish(relay.Publication{Channel: relay.Channel(c.Channel), Subject: "stage", Body: body},
			func(at relay.Position, end relay.End) { verdicts <- verdict{at, end} })
		if errors.Is(err, relay.ErrBusy) || errors.Is(err, relay.ErrUnavailable) {
			time.Sleep(relay.BusyRetry)
			continue
		}
		if err != nil {
			return nil, err
		}
		feed.n++
		sent++
	}
	var last verdict
	for range sent {
		if last = <-verdicts; last.end.Code != relay.Done {
			return nil, fmt.Errorf("publish to %s: %s %s", c.Channel, last.end.Code, last.end.Detail)
		}
	}
	return &fed{feed.n, uint64(last.at.Epoch), uint64(last.at.Seq)}, ctx.Err()
}

// A kept is a message as it stands at the home.
type kept struct {
	Epoch     uint64 `json:"epoch"`
	Seq       uint64 `json:"seq"`
	Text      string `json:"text"`
	Publisher string `json:"publisher"`
}

// history returns everything that the home has of a channel.
func history(ctx context.Context, from relay.Upstream, channel string) ([]kept, error) {
	woken := make(chan struct{}, 1)
	sub := from.Subscribe(relay.SubscribeRequest{
		Channel: relay.Channel(channel), From: relay.Start{Kind: relay.StartFirst}, Limit: relay.MaxNumber,
	}, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	defer sub.Close()
	list := []kept{}
	for {
		frames := sub.Next(nil, 1<<20)
		for _, f := range frames {
			switch f.Kind {
			case relay.KindEnd:
				if f.End.Code != relay.Done {
					return nil, fmt.Errorf("history of %s: %s %s", channel, f.End.Code, f.End.Detail)
				}
				return list, nil
			case relay.KindMessage:
				var m wire.Message
				if err := proto.Unmarshal(f.Body, &m); err != nil {
					return nil, err
				}
				list = append(list, kept{uint64(f.At.Epoch), uint64(f.At.Seq), strings.TrimRight(string(m.Payload), " "), m.Publisher})
			}
		}
		if len(frames) > 0 {
			continue
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

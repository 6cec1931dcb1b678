package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A load is messages to publish at the home. Each begins with the time of its publish, in Unix
// microseconds, in decimal, and a space.
type load struct {
	Channel  string `json:"channel"`
	Channels int    `json:"channels"` // above 0: Channel0, Channel1, … in turn
	Count    int    `json:"count"`    // of all messages together
	Rate     int    `json:"rate"`     // messages a second; 0: as fast as the home takes them
	Size     int    `json:"size"`     // bytes of a payload, at least 20
}

const (
	busyWait = time.Millisecond // how long the home gets to empty its queue
	most     = 8192             // unanswered messages
)

// A fed says how it went.
type fed struct {
	N    int     `json:"n"`    // messages
	Late float64 `json:"late"` // milliseconds that the slowest was behind its time
}

// publish publishes the load, and returns when every message is acknowledged.
func (l load) publish(ctx context.Context, home relay.Upstream) (*fed, error) {
	channels := []relay.Channel{relay.Channel(l.Channel)}
	if l.Channels > 0 {
		channels = channels[:0]
		for i := range l.Channels {
			channels = append(channels, relay.Channel(l.Channel+strconv.Itoa(i)))
		}
	}
	filler := strings.Repeat("x", l.Size)
	open := make(chan struct{}, most) // holds one for each that is unanswered
	refused := make(chan relay.End, 1)
	answer := func(_ relay.Position, end relay.End) {
		if end.Code != relay.Done {
			select {
			case refused <- end:
			default:
			}
		}
		<-open
	}
	began, f := time.Now(), &fed{}
	for f.N < l.Count && ctx.Err() == nil {
		now := time.Now()
		if l.Rate > 0 {
			due := began.Add(time.Duration(f.N) * time.Second / time.Duration(l.Rate))
			if now.Before(due) {
				time.Sleep(due.Sub(now))
				now = time.Now()
			}
			f.Late = max(f.Late, float64(now.Sub(due).Microseconds())/1000)
		}
		stamp := strconv.FormatInt(now.UnixMicro(), 10) + " "
		body, err := proto.Marshal(&wire.Message{Payload: []byte(stamp + filler[:max(0, l.Size-len(stamp))])})
		if err != nil {
			return nil, err
		}
		open <- struct{}{}
		err = home.Publish(
			relay.Publication{Channel: channels[f.N%len(channels)], Subject: "stand", Body: body}, answer)
		switch {
		case errors.Is(err, relay.ErrBusy):
			<-open
			time.Sleep(busyWait)
		case err != nil:
			return nil, err
		default:
			f.N++
		}
	}
	for range most {
		open <- struct{}{}
	}
	select {
	case end := <-refused:
		return nil, fmt.Errorf("publish to %s: %s %s", l.Channel, end.Code, end.Detail)
	default:
		return f, ctx.Err()
	}
}

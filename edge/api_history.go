package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/meridian-relay/meridian/internal/web"
	"github.com/meridian-relay/meridian/relay"
)

const (
	defaultHistory = 100      // messages
	maxHistory     = 1000     // messages
	historyBytes   = 1 << 20  // of message bodies, exceeded by less than one message
	historyStep    = 64 << 10 // bytes taken from the upstream at once
	historyWithin  = 10 * time.Second
)

// A historyOut is a page of history.
type historyOut struct {
	Messages []messageOut `json:"messages"`
	Gaps     []gapOut     `json:"gaps,omitempty"`
	Next     string       `json:"next"` // from= of the next page
	Head     string       `json:"head"` // the channel's newest position
	More     bool         `json:"more"` // there are messages after next
}

// A gapOut says that the messages between After and Next do not exist any more.
type gapOut struct {
	After  string `json:"after"`
	Next   string `json:"next"`
	Reason string `json:"reason"`
}

// history handles GET. from is "start", "last:N", "since:DURATION" or "EPOCH:SEQ" (after that
// position); without it, the newest. limit is at most 1,000 messages; without it, 100. A page
// ends early at about 1 MiB.
func (a *api) history(c *call) relay.End {
	req, end := c.historyRequest()
	if end.Code != relay.Done {
		return end
	}
	if end := c.allowed(req.Needs()); end.Code != relay.Done {
		return end
	}
	if end := a.edge.subscribe(&c.subject.account, &c.address.account); end.Code != relay.Done {
		return end
	}
	defer c.subject.unsubscribe()
	defer c.address.unsubscribe()
	ctx, cancel := context.WithTimeout(c.r.Context(), historyWithin)
	defer cancel()
	page, end := c.page(ctx, req)
	if end.Code != relay.Done {
		return end
	}
	c.finish()
	web.Reply(c.w, http.StatusOK, web.TypeJSON, page)
	return relay.End{}
}

func (c *call) historyRequest() (req relay.SubscribeRequest, end relay.End) {
	if end := c.onlyQuery("from", "limit"); end.Code != relay.Done {
		return req, end
	}
	query := c.r.URL.Query()
	req = relay.SubscribeRequest{Channel: c.channel, Subject: c.grant.Subject, Limit: defaultHistory}
	if s := query.Get("limit"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n < 1 || n > maxHistory {
			return req, relay.End{Code: relay.BadRequest, Detail: fmt.Sprintf("limit %.32q; from 1 to %d", s, maxHistory)}
		}
		req.Limit = n
	}
	from, err := parseFrom(query.Get("from"), req.Limit)
	if err != nil {
		return req, relay.End{Code: relay.BadRequest, Detail: err.Error()}
	}
	req.From = from
	return req, end
}

func parseFrom(s string, limit uint64) (relay.Start, error) {
	if s == "" {
		return relay.Start{Kind: relay.StartLast, Count: limit}, nil
	}
	if s == "start" {
		return relay.Start{Kind: relay.StartFirst}, nil
	}
	if count, ok := strings.CutPrefix(s, "last:"); ok {
		n, err := strconv.ParseUint(count, 10, 53)
		if err != nil || n == 0 {
			return relay.Start{}, fmt.Errorf("from %.64q: N of last:N is a whole number from 1", s)
		}
		return relay.Start{Kind: relay.StartLast, Count: n}, nil
	}
	if age, ok := strings.CutPrefix(s, "since:"); ok {
		d, err := time.ParseDuration(age)
		if err != nil || d <= 0 {
			return relay.Start{}, fmt.Errorf("from %.64q: write since:10m, with a unit of ms, s, m or h", s)
		}
		return relay.Start{Kind: relay.StartSince, Since: d}, nil
	}
	at, err := relay.ParsePosition(s)
	if err != nil {
		return relay.Start{}, fmt.Errorf("from %.64q: write start, last:N, since:10m or EPOCH:SEQ", s)
	}
	return relay.Start{Kind: relay.StartAfter, After: at}, nil
}

// page reads one page.
func (c *call) page(ctx context.Context, req relay.SubscribeRequest) (*historyOut, relay.End) {
	wake := make(chan struct{}, 1)
	sub := c.api.edge.upstream.Subscribe(req, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	defer sub.Close()
	p := pager{call: c, limit: req.Limit, page: &historyOut{Messages: []messageOut{}}}
	for {
		frames := sub.Next(p.frames[:0], historyStep)
		step := 0
		for i := range frames {
			done, end := p.take(&frames[i])
			if done || end.Code != relay.Done {
				return p.finish(), end
			}
			step += len(frames[i].Body)
		}
		p.frames = frames
		if step >= historyStep {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, relay.End{Code: relay.Cancelled}
			}
			return nil, relay.End{Code: relay.Unavailable, Detail: fmt.Sprintf("the channel's home did not answer within %v", historyWithin)}
		}
	}
}

// A pager gathers frames into a page.
type pager struct {
	call   *call
	page   *historyOut
	frames []relay.Frame
	limit  uint64
	bytes  int
	at     relay.Position // the last one read
	head   relay.Position
}

// take takes a frame; done: the page is complete.
func (p *pager) take(f *relay.Frame) (done bool, end relay.End) {
	switch f.Kind {
	case relay.KindOK:
		p.at, p.head = f.At, f.Next
	case relay.KindGap:
		p.page.Gaps = append(p.page.Gaps, gapOut{f.At.String(), f.Next.String(), f.Reason.String()})
	case relay.KindMessage:
		const factor = 4 // the body, its parts, as JSON, as escaped JSON
		if !p.call.hold(len(f.Body) * factor) {
			return false, relay.End{Code: relay.Busy, RetryAfter: time.Second, Detail: errNoMemory.Error()}
		}
		m, err := messageOf(p.call.channel, f.At, f.Body)
		if err != nil {
			p.call.api.edge.log.Error("history", "error", err)
			return false, relay.End{Code: relay.Internal, Detail: err.Error()}
		}
		p.page.Messages = append(p.page.Messages, m)
		p.at = f.At
		p.bytes += len(f.Body)
		return p.bytes >= historyBytes, end
	case relay.KindEnd:
		switch {
		case f.End.Deadline > 0: // announced; what is read here is read before
		case f.End.Code == relay.Done:
			if uint64(len(p.page.Messages)) < p.limit && p.at.Before(p.head) {
				p.at = p.head // what is between does not exist any more
			}
			return true, end
		case len(p.page.Messages) > 0:
			return true, end // what came is in order; the next page goes on
		default:
			return true, *f.End
		}
	}
	return false, end
}

func (p *pager) finish() *historyOut {
	p.call.api.edge.count.deliver(len(p.page.Messages), p.bytes)
	p.page.Next, p.page.Head, p.page.More = p.at.String(), p.head.String(), p.at.Before(p.head)
	return p.page
}

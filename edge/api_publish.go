package edge

import (
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/meridian-relay/meridian/internal/web"
	"github.com/meridian-relay/meridian/relay"
)

// An itemOut is the answer for one message: its position, or why it was refused.
type itemOut struct {
	Epoch relay.Epoch `json:"epoch,omitempty"`
	Seq   relay.Seq   `json:"seq,omitempty"`
	*failureOut
}

type failureOut struct {
	failure
	Detail string `json:"detail,omitempty"`
}

// publish handles POST. The body is
//
//   - with Content-Type application/json a message or an array of at most 1,000, committed in
//     their order: {"payload": "text" or "payload_base64": "AAE=", "key", "headers",
//     "content_type", "id"};
//   - with any other Content-Type a payload as it is, that type being the message's; key and id
//     may stand in the query. What HTML forms send is refused, for nobody means it.
//
// The header Idempotency-Key is the id of a single message. The answer to one message is
// {"epoch", "seq"} or a problem. To an array it is {"results": […]}, one for each, and the status
// is 200, or 207 where at least one has {"code", "detail", "retry_after"} instead.
//
// Outcomes that a repeat can settle are repeated here for up to 10 s, and take effect once:
// messages without ids get a producer that lasts as long as the request.
func (a *api) publish(c *call) relay.End {
	if end := c.allowed(relay.ActPublish); end.Code != relay.Done {
		return end
	}
	list, one, end := c.messages()
	if end.Code != relay.Done {
		return end
	}
	b, end := c.batch(list)
	if end.Code != relay.Done {
		return end
	}
	// The request is in; what remains has bounds of its own.
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	b.run(c.r.Context(), a.edge.upstream)
	c.finish()
	if one {
		it := b.items[0]
		if it.end.Code != relay.Done {
			return it.end
		}
		web.Reply(c.w, http.StatusOK, web.TypeJSON, itemOut{Epoch: it.at.Epoch, Seq: it.at.Seq})
		return relay.End{}
	}
	status := http.StatusOK
	var out struct {
		Results []itemOut `json:"results"`
	}
	for _, it := range b.items {
		if it.end.Code == relay.Done {
			out.Results = append(out.Results, itemOut{Epoch: it.at.Epoch, Seq: it.at.Seq})
			continue
		}
		status = http.StatusMultiStatus
		out.Results = append(out.Results, itemOut{failureOut: &failureOut{failureOf(it.end), it.end.Detail}})
	}
	web.Reply(c.w, status, web.TypeJSON, out)
	return relay.End{}
}

// messages reads the request's messages; one: it is not an array.
func (c *call) messages() (list []messageIn, one bool, end relay.End) {
	refuse := func(code relay.Code, format string, args ...any) ([]messageIn, bool, relay.End) {
		return nil, false, relay.End{Code: code, Detail: fmt.Sprintf(format, args...)}
	}
	contentType := c.r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case contentType == "":
	case err != nil:
		return refuse(relay.BadRequest, "Content-Type %.100q does not parse; write for example application/json", contentType)
	case media == "application/x-www-form-urlencoded" || media == "multipart/form-data":
		return refuse(relay.BadRequest,
			"Content-Type %s is a form's; send application/json, or for a payload as it is another type, such as text/plain", media)
	}
	most, parameters := maxBody, []string(nil)
	if media != "application/json" {
		most, parameters = c.api.edge.limits.Load().Payload, []string{"key", "id"}
	}
	if end := c.onlyQuery(parameters...); end.Code != relay.Done {
		return nil, false, end
	}
	body, err := c.body(most)
	switch {
	case errors.Is(err, errBodyTooLarge):
		return refuse(relay.TooLarge, "a body of more than %d bytes", most)
	case errors.Is(err, errNoMemory):
		return nil, false, relay.End{Code: relay.Busy, RetryAfter: time.Second, Detail: err.Error()}
	case err != nil:
		return refuse(relay.BadRequest, "the body did not arrive whole")
	}
	if media == "application/json" {
		if list, one, err = parseMessages(body); err != nil {
			return refuse(relay.BadRequest, "the body is not a message, nor an array of them: %v", err)
		}
	} else {
		query := c.r.URL.Query()
		list, one = []messageIn{{PayloadBase64: &body, ContentType: contentType, Key: query.Get("key"), ID: query.Get("id")}}, true
	}
	if id := c.r.Header.Get("Idempotency-Key"); id != "" {
		if !one || list[0].ID != "" && list[0].ID != id {
			return refuse(relay.BadRequest, "Idempotency-Key is for one message; give each its id in the body")
		}
		list[0].ID = id
	}
	return list, one, relay.End{}
}

// batch checks the messages, and takes them all from the limits or none.
func (c *call) batch(list []messageIn) (*batch, relay.End) {
	b := &batch{channel: c.channel, subject: c.grant.Subject}
	var own relay.Producer
	_, _ = rand.Read(own[:]) // it never fails
	payload, bytes, n := c.api.edge.limits.Load().Payload, 0, uint64(0)
	for i := range list {
		body, end := list[i].encode(payload)
		if end.Code != relay.Done {
			if len(list) > 1 {
				end.Detail = fmt.Sprintf("message %d: %s", i, end.Detail)
			}
			return nil, end
		}
		it := item{body: body}
		if id := list[i].ID; id != "" {
			it.producer, it.n = relay.ProducerOf(c.grant.Subject, id), 1
		} else {
			n++
			it.producer, it.n, it.chained = own, n, true
		}
		b.items = append(b.items, it)
		bytes += len(body)
	}
	now := time.Now()
	for _, a := range []*account{&c.subject.account, &c.address.account} {
		if end := a.publish(now, len(list), bytes); end.Code != relay.Done {
			return nil, c.api.edge.limited(end)
		}
	}
	c.api.edge.count.published(len(list), bytes)
	return b, relay.End{}
}

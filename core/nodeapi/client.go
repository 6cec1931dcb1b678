package nodeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// answerMost bounds what a client reads of one answer: a full page of shards with many members
// is a few megabytes.
const answerMost = 32 << 20

// A Client asks one node. Errors are *Problem where the node refused, which wraps the Node's
// error. Safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client of the node whose listener for operators is at rawURL,
// http://HOST:PORT. hc nil: a client of its own, which follows no redirects.
func NewClient(rawURL string, hc *http.Client) (*Client, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("node %q: write the URL of its ops listener, http://HOST:PORT", rawURL)
	}
	if hc == nil {
		hc = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &Client{u.Scheme + "://" + u.Host, hc}, nil
}

// URL is the node's.
func (c *Client) URL() string { return c.base }

// Shards lists all of the node's replicas, and the node's name.
func (c *Client) Shards(ctx context.Context) (shard.Node, []Shard, error) {
	var name shard.Node
	var all []Shard
	for after := ""; ; {
		var p page[Shard]
		q := url.Values{"limit": {strconv.Itoa(pageMost)}}
		if after != "" {
			q.Set("after", after)
		}
		if err := c.do(ctx, http.MethodGet, "/v1/shards?"+q.Encode(), nil, &p); err != nil {
			return name, nil, err
		}
		name, all = p.Node, append(all, p.List...)
		if p.Next == "" {
			return name, all, nil
		}
		if p.Next == after {
			return name, nil, errors.New("the node's list does not come to an end")
		}
		after = p.Next
	}
}

// Shard returns a replica of the node.
func (c *Client) Shard(ctx context.Context, id shard.ID) (s Shard, err error) {
	return s, c.do(ctx, http.MethodGet, "/v1/shards/"+id.String(), nil, &s)
}

// Channels lists a page of the node's channels; next is the after of the following one, empty
// at the end.
func (c *Client) Channels(ctx context.Context, prefix string, after relay.Channel, limit int) (list []Channel, next relay.Channel, err error) {
	q := url.Values{"limit": {strconv.Itoa(min(max(limit, 1), pageMost))}}
	if prefix != "" {
		q.Set("prefix", prefix)
	}
	if after != "" {
		q.Set("after", string(after))
	}
	var p page[Channel]
	err = c.do(ctx, http.MethodGet, "/v1/channels?"+q.Encode(), nil, &p)
	return p.List, relay.Channel(p.Next), err
}

// Channel returns what the node has of a channel.
func (c *Client) Channel(ctx context.Context, name relay.Channel) (x Channel, err error) {
	return x, c.do(ctx, http.MethodGet, "/v1/channels/"+url.PathEscape(string(name)), nil, &x)
}

// Transfer hands a shard's leadership to another node. The node asked must lead.
func (c *Client) Transfer(ctx context.Context, id shard.ID, to shard.Node) (s Shard, err error) {
	body := map[string]shard.Node{"to": to}
	return s, c.do(ctx, http.MethodPost, "/v1/shards/"+id.String()+"/transfer", body, &s)
}

// Replace gives a node with a new disk its replicas back in the shards that the node asked
// leads. It does not wait: repeat it to see how far it is.
func (c *Client) Replace(ctx context.Context, node shard.Node) ([]Replacement, error) {
	var p page[Replacement]
	err := c.do(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(string(node))+"/replace", struct{}{}, &p)
	return p.List, err
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerMost+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: %w", method, path, err)
	case len(b) > answerMost:
		return fmt.Errorf("%s %s: the answer has more than %d bytes", method, path, answerMost)
	case resp.StatusCode != http.StatusOK:
		p := &Problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode)}
		if json.Unmarshal(b, p) != nil || p.Code == "" {
			p.Detail = fmt.Sprintf("%s answers %s with status %d; is it the ops listener of a node?", c.base, path, resp.StatusCode)
		}
		return p
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not what a node says: %w", method, path, err)
	}
	return nil
}

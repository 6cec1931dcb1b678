package edge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/edge"
)

// A request to the HTTP API, and the answer to it.
type apiCall struct {
	w      *world
	client *http.Client
	base   string
	token  string
}

type apiAnswer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
	proto  string
}

// do requests /v1/channels/{channel}/messages, with query and body if any.
func (c apiCall) do(method, channel, query, contentType, body string, header ...string) apiAnswer {
	c.w.t.Helper()
	path := "/v1/channels/" + url.PathEscape(channel) + "/messages"
	if query != "" {
		path += "?" + query
	}
	return c.path(method, path, contentType, body, header...)
}

func (c apiCall) path(method, path, contentType, body string, header ...string) apiAnswer {
	c.w.t.Helper()
	r, err := http.NewRequestWithContext(c.w.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.w.t.Fatal(err)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := c.client.Do(r)
	if err != nil {
		c.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return apiAnswer{c.w.t, resp.StatusCode, resp.Header, b, resp.Proto}
}

func (w *world) api(token string) apiCall {
	return apiCall{w, w.client(true), "https://" + w.addr, token}
}

// into parses a successful answer.
func (a apiAnswer) into(status int, v any) {
	a.t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "application/json" {
		a.t.Fatalf("status %d, %s: %s; want %d", a.status, a.header.Get("Content-Type"), a.body, status)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("%s: %v", a.body, err)
	}
}

// problem checks a problem document.
func (a apiAnswer) problem(status int, code, says string) {
	a.t.Helper()
	var p struct {
		Type, Title, Detail, Code string
		Status                    int
		RetryAfter                float64 `json:"retry_after"`
	}
	if a.header.Get("Content-Type") != "application/problem+json" {
		a.t.Fatalf("status %d, %s: %s; want a problem", a.status, a.header.Get("Content-Type"), a.body)
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		a.t.Fatalf("%s: %v", a.body, err)
	}
	if a.status != status || p.Status != status || p.Code != code || !strings.Contains(p.Detail, says) ||
		p.Title == "" || !strings.HasSuffix(p.Type, "#"+code) {
		a.t.Errorf("status %d: %s; want %d %s saying %q", a.status, a.body, status, code, says)
	}
	if (status == 401) != (a.header.Get("WWW-Authenticate") != "") {
		a.t.Errorf("status %d with WWW-Authenticate %q", status, a.header.Get("WWW-Authenticate"))
	}
	if (status == 429 || status == 503) && (a.header.Get("Retry-After") == "" || p.RetryAfter <= 0) {
		a.t.Errorf("status %d with Retry-After %q, retry_after %v", status, a.header.Get("Retry-After"), p.RetryAfter)
	}
}

type item struct {
	Epoch, Seq uint64
	Code       string
	Detail     string
}

type results struct{ Results []item }

type page struct {
	Messages []struct {
		Channel, Time, Publisher, Key string
		ContentType                   string `json:"content_type"`
		Epoch, Seq                    uint64
		Headers                       map[string]string
		Payload                       *string
		PayloadBase64                 []byte `json:"payload_base64"`
	}
	Next, Head string
	More       bool
}

// One message and many, in and out, over each HTTP version and without TLS.
func TestHTTP(t *testing.T) {
	w := newWorld(t, nil)
	token := w.token("back-end", nil)
	for name, c := range map[string]apiCall{
		"HTTP/1.1": {w, w.client(false), "https://" + w.addr, token},
		"HTTP/2.0": {w, w.client(true), "https://" + w.addr, token},
		"HTTP/3.0": {w, w.client3(), "https://" + w.addr, token},
		"plain":    {w, w.client(false), "http://" + w.plain, token},
	} {
		t.Run(name, func(t *testing.T) {
			channel := "demo:a/b ü:" + strings.ToLower(name)
			var one item
			answer := c.do("POST", channel, "", "application/json; charset=utf-8",
				`{"payload":"hello","key":"k","headers":{"b":"2","a":"1"},"content_type":"text/plain"}`)
			answer.into(200, &one)
			if name != "plain" && answer.proto != name {
				t.Errorf("over %s", answer.proto)
			}
			var many results
			c.do("POST", channel, "", "application/json", `[{"payload":"1"},{"payload_base64":"/w=="},{}]`).into(200, &many)
			if len(many.Results) != 3 || many.Results[0].Seq != one.Seq+1 || many.Results[2].Seq != one.Seq+3 || many.Results[2].Epoch != one.Epoch {
				t.Fatalf("%+v after %+v", many, one)
			}
			var p page
			c.do("GET", channel, "", "", "").into(200, &p)
			if len(p.Messages) != 4 || p.More || p.Next != p.Head || p.Head != fmt.Sprint(one.Epoch, ":", one.Seq+3) {
				t.Fatalf("%+v", p)
			}
			m := p.Messages[0]
			if m.Channel != channel || m.Publisher != "back-end" || m.Key != "k" || m.ContentType != "text/plain" ||
				m.Headers["a"] != "1" || *m.Payload != "hello" || m.Seq != one.Seq || !strings.HasSuffix(m.Time, "Z") {
				t.Errorf("%+v", m)
			}
			if m := p.Messages[2]; m.Payload != nil || !bytes.Equal(m.PayloadBase64, []byte{0xff}) {
				t.Errorf("not UTF-8: %+v", m)
			}
			if m := p.Messages[3]; m.Payload == nil || *m.Payload != "" {
				t.Errorf("empty: %+v", m)
			}
			c.do("POST", "nowhere:x", "", "text/plain", "x").problem(404, "unknown_namespace", "nowhere")
			c.do("POST", channel, "", "application/json", strings.Repeat(" ", 8<<20+1)).problem(413, "too_large", "8388608")
			anonymous := c
			anonymous.token = ""
			anonymous.do("GET", channel, "", "", "").problem(401, "unauthorized", "Authorization")
		})
	}
	w.metric("meridian_edge_http_requests_total", `route="publish",status="200"`, 8)
	w.metric("meridian_edge_publishes_total", `code="done"`, 16)
}

// An id makes a repeat take effect once, and another message under it is a conflict.
func TestHTTPIdempotence(t *testing.T) {
	c := newWorld(t, nil).apiOf("back-end")
	message := `{"payload":"x","headers":{"a":"1","b":"2","c":"3","d":"4"},"id":"order-1"}`
	var first, again item
	c.do("POST", "demo:o", "", "application/json", message).into(200, &first)
	for range 10 { // a map's order differs from time to time
		c.do("POST", "demo:o", "", "application/json", message).into(200, &again)
		if again != first {
			t.Fatalf("%+v, then %+v", first, again)
		}
	}
	c.do("POST", "demo:o", "", "application/json", `{"payload":"y","id":"order-1"}`).problem(409, "conflict", "")
	c.do("POST", "demo:o", "", "text/plain", "z", "Idempotency-Key", "order-2").into(200, &first)
	c.do("POST", "demo:o", "id=order-2", "text/plain", "z").into(200, &again)
	if again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	// Another subject's ids are its own.
	var other item
	c.w.apiOf("somebody else").do("POST", "demo:o", "", "application/json", message).into(200, &other)
	if other.Seq != 3 {
		t.Errorf("%+v; want the third message", other)
	}
	var p page
	c.do("GET", "demo:o", "from=start", "", "").into(200, &p)
	if len(p.Messages) != 3 {
		t.Errorf("%d messages; want 3", len(p.Messages))
	}
}

func (w *world) apiOf(subject string) apiCall { return w.api(w.token(subject, nil)) }

// A payload as it is keeps its type and its bytes.
func TestHTTPRaw(t *testing.T) {
	c := newWorld(t, nil).apiOf("back-end")
	var one item
	c.do("POST", "demo:r", "key=k%2F1", "image/png", "\x89PNG").into(200, &one)
	c.do("POST", "demo:r", "", "", "").into(200, &one)
	var p page
	c.do("GET", "demo:r", "from=start", "", "").into(200, &p)
	if m := p.Messages[0]; m.Key != "k/1" || m.ContentType != "image/png" || string(m.PayloadBase64) != "\x89PNG" {
		t.Errorf("%+v", m)
	}
	if m := p.Messages[1]; m.ContentType != "" || *m.Payload != "" {
		t.Errorf("%+v", m)
	}
}

// The home's refusal of one message of many is its own, and the others commit in order.
func TestHTTPPartly(t *testing.T) {
	c := newWorld(t, nil).apiOf("back-end")
	var r results
	c.do("POST", "small:x", "", "application/json",
		`[{"payload":"1"},{"payload":"longer than eight bytes"},{"payload":"2"},{"payload":"3"},{"payload":"also longer than eight bytes"}]`).into(207, &r)
	for i, want := range []item{{Seq: 1}, {Code: "too_large"}, {Seq: 2}, {Seq: 3}, {Code: "too_large"}} {
		if got := r.Results[i]; got.Seq != want.Seq || got.Code != want.Code || (want.Code != "") != (got.Detail != "") {
			t.Errorf("message %d: %+v; want %+v", i, got, want)
		}
	}
}

// History goes page by page, in any of its ways to begin.
func TestHTTPHistory(t *testing.T) {
	c := newWorld(t, nil).apiOf("back-end")
	var list []string
	for i := range 250 {
		list = append(list, fmt.Sprintf(`{"payload":"%d"}`, i+1))
	}
	var r results
	c.do("POST", "demo:h", "", "application/json", "["+strings.Join(list, ",")+"]").into(200, &r)
	epoch := r.Results[0].Epoch
	for query, want := range map[string]string{
		"":                                 "151-250 false",
		"limit=10":                         "241-250 false",
		"from=start":                       "1-100 true",
		"from=start&limit=1000":            "1-250 false",
		"from=last:3":                      "248-250 false",
		"from=last:3&limit=2":              "248-249 true",
		"from=since:1h&limit=5":            "1-5 true",
		fmt.Sprint("from=", epoch, ":248"): "249-250 false",
		fmt.Sprint("from=", epoch, ":250"): "none false",
	} {
		var p page
		c.do("GET", "demo:h", query, "", "").into(200, &p)
		got := "none"
		if n := len(p.Messages); n > 0 {
			got = fmt.Sprint(*p.Messages[0].Payload, "-", *p.Messages[n-1].Payload)
		}
		if got += fmt.Sprint(" ", p.More); got != want {
			t.Errorf("%q: %s; want %s", query, got, want)
		}
	}
	// Following next ends with everything, once.
	from, next := "start", 0
	for range 100 {
		var p page
		c.do("GET", "demo:h", "limit=7&from="+from, "", "").into(200, &p)
		for _, m := range p.Messages {
			if next++; *m.Payload != fmt.Sprint(next) {
				t.Fatalf("message %s; want %d", *m.Payload, next)
			}
		}
		if from = p.Next; !p.More {
			break
		}
	}
	if next != 250 {
		t.Errorf("%d messages; want 250", next)
	}
	var empty page
	c.do("GET", "demo:empty", "from=start", "", "").into(200, &empty)
	if empty.Messages == nil || len(empty.Messages) != 0 || empty.More {
		t.Errorf("an empty channel: %+v", empty)
	}
}

// A page is bounded in bytes, and says that there is more.
func TestHTTPHistoryBytes(t *testing.T) {
	c := newWorld(t, func(c *edge.Config) { c.Limits.Payload = 1 << 20 }).apiOf("back-end")
	for range 40 {
		c.do("POST", "demo:b", "", "application/octet-stream", strings.Repeat("x", 60_000)).into(200, new(item))
	}
	var n int
	for from := "start"; ; {
		var p page
		c.do("GET", "demo:b", "from="+from, "", "").into(200, &p)
		if len(p.Messages) > 18 || len(p.Messages) == 0 {
			t.Fatalf("a page of %d messages", len(p.Messages))
		}
		n += len(p.Messages)
		if from = p.Next; !p.More {
			break
		}
	}
	if n != 40 {
		t.Errorf("%d messages; want 40", n)
	}
}

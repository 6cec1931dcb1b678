package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/edge"
)

func TestHTTPRefused(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.Limits.Payload = 100 })
	c := w.apiOf("back-end")
	const j = "application/json"
	for _, s := range []struct {
		query, contentType, body string
		status                   int
		code, says               string
	}{
		{"", j, ``, 400, "bad_request", "EOF"},
		{"", j, `"x"`, 400, "bad_request", "not a message"},
		{"", j, `null`, 400, "bad_request", "null is no message"},
		{"", j, `[{},null]`, 400, "bad_request", "message 1: null"},
		{"", j, "{\"payload\":\"\xff\"}", 400, "bad_request", "not UTF-8"},
		{"key=%ff", "text/plain", "x", 400, "bad_request", "must be UTF-8"},
		{"", j, `{"payload":"x"`, 400, "bad_request", "EOF"},
		{"", j, `{"payload":"x"} {}`, 400, "bad_request", "something follows"},
		{"", j, `{"payload":{"a":1}}`, 400, "bad_request", "payload"},
		{"", j, `{"paylod":"x"}`, 400, "bad_request", "paylod"},
		{"", j, `{"payload":"x","payload_base64":"eA=="}`, 400, "bad_request", "set one"},
		{"", j, `{"payload_base64":"%"}`, 400, "bad_request", "base64"},
		{"", j, `[]`, 400, "bad_request", "empty"},
		{"", j, `[{"payload":"x"},{"payload":1}]`, 400, "bad_request", "message 1"},
		{"", j, "[" + strings.Repeat("{},", 1000) + "{}]", 400, "bad_request", "more than 1000 messages"},
		{"", j, `[{},{"payload":"` + strings.Repeat("x", 101) + `"}]`, 413, "too_large", "message 1: payload of 101 bytes; at most 100"},
		{"", j, `{"key":"` + strings.Repeat("x", 257) + `"}`, 413, "too_large", "key of 257"},
		{"", j, `{"headers":{"a":"` + strings.Repeat("x", 4096) + `"}}`, 413, "too_large", "headers of 41"},
		{"", j, `{"id":"` + strings.Repeat("x", 257) + `"}`, 413, "too_large", "id of 257"},
		{"", j, strings.Repeat(" ", 8<<20+1), 413, "too_large", "8388608"},
		{"", "text/plain", strings.Repeat("x", 101), 413, "too_large", "100"},
		{"", "application/x-www-form-urlencoded", `{"payload":"x"}`, 400, "bad_request", "application/json"},
		{"", "a b/;", `x`, 400, "bad_request", "Content-Type"},
		{"id=x", j, `{}`, 400, "bad_request", "id"},
		{"kye=x", "text/plain", `x`, 400, "bad_request", "kye"},
		{"token=secret", "text/plain", `x`, 400, "bad_request", "Authorization"},
		{"access_token=secret", "text/plain", `x`, 400, "bad_request", "Authorization"},
	} {
		a := c.do("POST", "demo:x", s.query, s.contentType, s.body)
		a.problem(s.status, s.code, s.says)
		if strings.Contains(string(a.body), "secret") {
			t.Errorf("a token is in the answer: %s", a.body)
		}
	}
	c.do("POST", "demo:x", "", j, `[{"id":"a"},{"id":"b"}]`, "Idempotency-Key", "k").problem(400, "bad_request", "one message")
	for _, s := range []struct{ query, says string }{
		{"from=live", "start, last:N"}, {"from=last:0", "last:N"}, {"from=last:-1", "last:N"}, {"from=since:10", "since:10m"},
		{"from=since:-1m", "since:10m"}, {"from=1:99999999999999999", "EPOCH:SEQ"}, {"limit=0", "1 to 1000"},
		{"limit=1001", "1 to 1000"}, {"limit=x", "1 to 1000"}, {"form=start", "form"}, {"token=x", "Authorization"},
	} {
		c.do("GET", "demo:x", s.query, "", "").problem(400, "bad_request", s.says)
	}
	c.do("GET", "mars:x", "", "", "").problem(403, "forbidden", "history")
	c.do("POST", "mars:x", "", j, `{}`).problem(403, "forbidden", "publish")
	c.do("GET", "nowhere:x", "", "", "").problem(404, "unknown_namespace", "nowhere")
	c.do("POST", "nowhere:x", "", j, `{}`).problem(404, "unknown_namespace", "nowhere")
	for _, channel := range []string{"demo", "demo:", ":x", "Demo:x", "demo:a\x00b", "demo:\xff", "demo:" + strings.Repeat("x", 193)} {
		c.do("GET", channel, "", "", "").problem(400, "bad_channel", "")
		c.do("POST", channel, "", j, `{}`).problem(400, "bad_channel", "")
	}
	for _, path := range []string{"/v1", "/v1/", "/v1/channels/demo:x", "/v1/channels/demo:x/y/messages", "/v1/channels/messages", "/v2/", "/"} {
		c.path("GET", path, "", "").problem(404, "bad_request", "/v1/")
	}
	a := c.do("DELETE", "demo:x", "", "", "")
	a.problem(405, "bad_request", "DELETE")
	if a.header.Get("Allow") == "" {
		t.Error("405 without Allow")
	}
	var p page
	c.do("GET", "demo:x", "from=start", "", "").into(200, &p)
	if len(p.Messages) != 0 {
		t.Errorf("%d messages were published by requests that were refused", len(p.Messages))
	}
}

func TestHTTPUnauthorized(t *testing.T) {
	w := newWorld(t, nil)
	good := w.token("back-end", nil)
	for name, header := range map[string][]string{
		"none":     nil,
		"empty":    {"Authorization", ""},
		"basic":    {"Authorization", "Basic eA=="},
		"no token": {"Authorization", "Bearer"},
		"garbage":  {"Authorization", "Bearer garbage"},
		"forged":   {"Authorization", "Bearer " + good[:len(good)-6] + "AAAAAA"},
		"100 KB":   {"Authorization", "Bearer " + strings.Repeat("x", 17_000)},
		"two":      {"Authorization", "Bearer " + good, "Authorization", "Bearer " + good},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.api("")
			c.do("POST", "demo:x", "", "application/json", `{}`, header...).problem(401, "unauthorized", "")
			c.do("GET", "demo:x", "", "", "", header...).problem(401, "unauthorized", "")
		})
	}
	var one item
	w.api("").do("POST", "demo:x", "", "application/json", `{}`, "authorization", "bearer "+good).into(200, &one)
}

// What goes beyond a rate is refused as a whole, with the time to wait; others go on.
func TestHTTPRates(t *testing.T) {
	w := newWorld(t, func(c *edge.Config) { c.Limits.Subject = edge.Scope{Publishes: 10, Subscriptions: 1} })
	c := w.apiOf("back-end")
	batch := "[" + strings.Repeat("{},", 5) + "{}]"
	var r results
	c.do("POST", "demo:x", "", "application/json", batch).into(200, &r)
	c.do("POST", "demo:x", "", "application/json", batch).problem(429, "publish_rate", "this subject is 10 publishes/s")
	w.apiOf("another").do("POST", "demo:x", "", "application/json", batch).into(200, &r)
	w.metric("meridian_edge_limited_total", `code="publish_rate"`, 1)
}

func TestHTTPOrigins(t *testing.T) {
	w := newWorld(t, nil)
	c := w.apiOf("page")
	a := c.do("GET", "demo:x", "", "", "", "Origin", "https://app.example")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "https://app.example" || a.header.Get("Vary") != "Origin" {
		t.Errorf("an allowed page: %d %v", a.status, a.header)
	}
	a = c.do("GET", "demo:x", "", "", "", "Origin", "https://evil.example")
	a.problem(403, "origin_refused", "evil.example")
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("another page may read the refusal")
	}
	c.token = ""
	a = c.do(http.MethodOptions, "demo:x", "", "", "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
	if a.status != 204 || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") ||
		!strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	c.do(http.MethodOptions, "demo:x", "", "", "", "Origin", "https://evil.example").problem(403, "origin_refused", "")
}

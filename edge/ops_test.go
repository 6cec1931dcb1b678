package edge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// fetch gets a path of the ops listener.
func (w *world) fetch(path string) (status int, body string) {
	w.t.Helper()
	resp, err := http.Get("http://" + w.ops + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// fetchQuietly is fetch where a failure is fine.
func (w *world) fetchQuietly(ctx context.Context, path string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.ops+path, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// quietPublish publishes over HTTP, where a failure is fine.
func (w *world) quietPublish(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.plain+"/v1/channels/demo:x/messages", strings.NewReader("x"))
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+w.token("a", nil))
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
	}
}

// metric checks a metric's value.
func (w *world) metric(name, labels string, want float64) {
	w.t.Helper()
	line := name
	if labels != "" {
		line += "{" + labels + "}"
	}
	_, body := w.fetch("/metrics")
	if !strings.Contains(body, fmt.Sprintf("\n%s %v\n", line, want)) {
		found := regexp.MustCompile(`(?m)^`+name+`.*$`).FindAllString(body, -1)
		w.t.Errorf("metrics have %q; want %s %v", found, line, want)
	}
}

func TestOps(t *testing.T) {
	var unready atomic.Bool
	w := newWorld(t, func(c *edge.Config) {
		c.Ready = func() error {
			if unready.Load() {
				return errors.New("the keys are missing")
			}
			return nil
		}
	})
	for _, path := range []string{"/healthz", "/readyz", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		if status, body := w.fetch(path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	unready.Store(true)
	if status, body := w.fetch("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the keys are missing") {
		t.Errorf("not ready: %d %q", status, body)
	}

	l := w.mustConnect(relay.WebSocket, w.token("metrics-subject", nil))
	r := relaytest.Subscribe(t, l, relay.SubscribeRequest{Channel: "demo:metrics-channel"})
	r.Expect(relay.KindOK)
	m := body("0123456789")
	if _, end := publish(t, l, relay.Publication{Channel: "demo:metrics-channel", Body: m}); end.Code != relay.Done {
		t.Fatal(end.Err())
	}
	r.Expect(relay.KindMessage)
	w.metric("meridian_edge_sessions", `carrier="websocket"`, 1)
	w.metric("meridian_edge_sessions_opened_total", `carrier="websocket"`, 1)
	w.metric("meridian_edge_publishes_total", `code="done"`, 1)
	w.metric("meridian_edge_publishes_admitted_total", "", 1)
	w.metric("meridian_edge_published_bytes_total", "", float64(len(m)))
	w.metric("meridian_edge_delivered_messages_total", "", 1)
	w.metric("meridian_edge_subjects", "", 1)
	w.metric("meridian_hub_subscriptions", "", 1)
	w.metric("meridian_hub_received_messages_total", "", 1)
	w.metric("meridian_transport_refused_total", `reason="hello_timeout"`, 0)

	_, all := w.fetch("/metrics")
	if strings.Contains(all, "metrics-") {
		t.Error("a subject or a channel stands in the metrics")
	}
	for _, line := range strings.Split(all, "\n") {
		if name, _, _ := strings.Cut(line, "{"); line != "" && !strings.HasPrefix(line, "#") &&
			!strings.HasPrefix(name, "meridian_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && !strings.HasPrefix(name, "promhttp_") {
			t.Errorf("metric %q has another prefix", line)
		}
	}
}

// A page whose name was made to lead here reads nothing.
func TestOpsUnderAForeignName(t *testing.T) {
	w := newWorld(t, nil)
	for host, want := range map[string]int{
		"evil.example": 403, "localhost": 200, "127.0.0.1:9090": 200,
	} {
		for _, path := range []string{"/healthz", "/metrics", "/debug/pprof/cmdline"} {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.ops+path, nil)
			r.Host = host
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s under %q: status %d, want %d", path, host, resp.StatusCode, want)
			}
		}
	}
}

package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
)

// start runs a world until the test ends.
func start(t *testing.T, c Config) *World {
	t.Helper()
	w, err := NewWorld(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("world: %v", err)
		}
	})
	return w
}

func dial(t *testing.T, w *World, subject string, c client.Config) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := w.Dial(ctx, subject, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// TestWorld sends messages through the whole of it, on both carriers.
func TestWorld(t *testing.T) {
	w := start(t, Config{})
	alice := dial(t, w, "alice", client.Config{Carriers: []relay.Carrier{relay.WebTransport}})
	bob := dial(t, w, "bob", client.Config{Carriers: []relay.Carrier{relay.WebSocket}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	const messages = 100
	for i := range messages {
		if _, err := alice.Publish(ctx, "demo:a", client.Message{Payload: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	got := 0
	for m, err := range bob.History(ctx, "demo:a", relay.Start{Kind: relay.StartFirst}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Payload) != fmt.Sprint(got) || m.Publisher != "alice" {
			t.Fatalf("message %d: %q by %q", got, m.Payload, m.Publisher)
		}
		got++
	}
	if got != messages {
		t.Errorf("%d messages, want %d", got, messages)
	}
}

func TestWorldRefusesUnknownNamespace(t *testing.T) {
	w := start(t, Config{})
	alice := dial(t, w, "alice", client.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := alice.Publish(ctx, "chat:a", client.Message{})
	if e, ok := errors.AsType[*relay.Error](err); !ok || e.End.Code != relay.UnknownNamespace || !strings.Contains(err.Error(), `"chat"`) {
		t.Errorf("error %v, want unknown_namespace that names chat", err)
	}
}

// TestWorldListeners: one port number for UDP and TCP, plain HTTP and ops beside it.
func TestWorldListeners(t *testing.T) {
	w := start(t, Config{HTTP: "127.0.0.1:0", Ops: "127.0.0.1:0", Pages: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(rw, "a page")
	})})
	urls := w.URLs()
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is its own
	for url, want := range map[string]string{
		urls.Ops + "/healthz": "ok", urls.Ops + "/readyz": "ok",
		urls.HTTP + "/": "a page", urls.Relay + "/": "a page",
	} {
		resp, err := secure.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || strings.TrimSpace(string(b)) != want {
			t.Errorf("%s: %d %q, want %q", url, resp.StatusCode, b, want)
		}
	}
	resp, err := http.Get(urls.Ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, of := range []string{"meridian_edge_sessions", "meridian_hub_", "meridian_transport_"} {
		if !strings.Contains(string(metrics), "\n"+of) {
			t.Errorf("no metric %s…", of)
		}
	}
	secure.CloseIdleConnections()
}

func TestListenNamesWhoIsInTheWay(t *testing.T) {
	w := start(t, Config{})
	addr := strings.TrimPrefix(w.URLs().Relay, "https://")
	if _, err := NewWorld(Config{Listen: addr}); err == nil || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("error %v", err)
	}
	if _, err := NewWorld(Config{Listen: "nonsense"}); err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("error %v", err)
	}
}

package transport

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// clients returns an HTTP client of each version for the stage.
func (s *stage) clients() map[string]*http.Client {
	conf := func(protos ...string) *tls.Config {
		return &tls.Config{RootCAs: s.authority.pool, NextProtos: protos}
	}
	h1 := &http.Transport{TLSClientConfig: conf("http/1.1")}
	h2 := &http.Transport{TLSClientConfig: conf(), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: conf()}
	s.t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		_ = h3.Close()
	})
	return map[string]*http.Client{
		"HTTP/1.1": {Transport: h1}, "HTTP/2.0": {Transport: h2}, "HTTP/3.0": {Transport: h3},
	}
}

func echoProto(c *ServerConfig) {
	c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Proto, r.URL.Path, b)
	})
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	rsp, err := c.Post(url, "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.StatusCode, string(b)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	s := newStage(t, echoProto)
	for proto, c := range s.clients() {
		if code, body := get(t, c, "https://"+s.addr+"/x"); code != 200 || body != proto+" /x body" {
			t.Errorf("%s: %d %q", proto, code, body)
		}
		if code, _ := get(t, c, s.url("https")); code != http.StatusUpgradeRequired {
			t.Errorf("%s at the session's path: %d", proto, code)
		}
	}
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if code, body := get(t, plain, "http://"+s.plain+"/x"); code != 200 || body != "HTTP/1.1 /x body" {
		t.Errorf("plain: %d %q", code, body)
	}
}

// A Dialer makes requests with the trust that its sessions have, until it is closed.
func TestDialerRequests(t *testing.T) {
	t.Parallel()
	s := newStage(t, echoProto)
	pinned := func(hash [32]byte) *Dialer {
		return s.dialer(func(c *DialerConfig) { c.TLS, c.CertHashes = nil, [][32]byte{hash} })
	}
	d := pinned(hashOf(s.cert))
	c := &http.Client{Transport: d.HTTP3()}
	if code, body := get(t, c, "https://"+s.addr+"/x"); code != 200 || body != "HTTP/3.0 /x body" {
		t.Errorf("%d %q", code, body)
	}
	wrong := &http.Client{Transport: pinned([32]byte{1}).HTTP3()}
	if _, err := wrong.Get("https://" + s.addr + "/x"); err == nil {
		t.Error("a request to a server that is not trusted was answered")
	}
	_ = d.Close()
	if _, err := c.Get("https://" + s.addr + "/x"); err == nil {
		t.Error("a request after Close was answered")
	}
	eventually(t, "the connection has ended", func() bool { return s.server.Stats().HTTP == 0 })
}

// A connection that made a request is not ended for want of a Hello.
func TestHTTPOutlivesHello(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *ServerConfig) { echoProto(c); c.HelloWithin = 700 * time.Millisecond })
	clients := s.clients()
	for range 2 {
		for proto, c := range clients {
			if code, _ := get(t, c, "https://"+s.addr+"/x"); code != 200 {
				t.Errorf("%s: %d", proto, code)
			}
		}
		time.Sleep(900 * time.Millisecond)
	}
	if got := s.server.Stats(); got.HTTP != 3 || got.Unwelcomed != 0 || got.Late != 0 {
		t.Errorf("%+v", got)
	}
}

func TestTooManyHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *ServerConfig) { echoProto(c); c.MaxHTTPPerAddr = 1 })
	clients := s.clients()
	if code, _ := get(t, clients["HTTP/2.0"], "https://"+s.addr+"/x"); code != 200 {
		t.Fatal(code)
	}
	for _, proto := range []string{"HTTP/1.1", "HTTP/3.0"} {
		if code, _ := get(t, clients[proto], "https://"+s.addr+"/x"); code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", proto, code)
		}
	}
}

func TestHeaderTooLarge(t *testing.T) {
	t.Parallel()
	s := newStage(t, echoProto)
	for proto, c := range s.clients() {
		r, _ := http.NewRequest("GET", "https://"+s.addr+"/x", nil)
		r.Header.Set("X-Large", strings.Repeat("x", 100<<10))
		rsp, err := c.Do(r)
		if err != nil {
			continue // cut off
		}
		_ = rsp.Body.Close()
		if rsp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %d", proto, rsp.StatusCode)
		}
	}
}

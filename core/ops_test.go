package core

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestLeaderless(t *testing.T) {
	var ids []string
	for i := range 11 {
		ids = append(ids, fmt.Sprint("s", i+1))
		got := leaderless(ids)
		for _, want := range []string{
			[]string{"1 shard knows", fmt.Sprint(i+1, " shards know")}[min(i, 1)],
			strings.Join(ids[:min(i+1, 8)], ", "), "meridian shard list",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%d: %q lacks %q", i+1, got, want)
			}
		}
		if more := strings.Contains(got, fmt.Sprintf("s8 and %d more;", i-7)); more != (i > 7) || strings.Contains(got, "s9") {
			t.Errorf("%d: %q", i+1, got)
		}
	}
}

// The listener for operators of a node serves all that it is to, and no page under another name.
func TestNodeOps(t *testing.T) {
	c := single(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Ops = l
	n, _ := start(t, c)
	await(t, n)
	get := func(path, host string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/v1/shards", "/debug/pprof/cmdline"} {
		if got := get(path, ""); got != http.StatusOK {
			t.Errorf("%s: status %d", path, got)
		}
		if got := get(path, "evil.example"); got != http.StatusForbidden {
			t.Errorf("%s under a name of elsewhere: status %d", path, got)
		}
	}
	n.draining.Store(true)
	if got := get("/readyz", ""); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz while it drains: status %d", got)
	}
	n.draining.Store(false)
}

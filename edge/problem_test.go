package edge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// Every code has a status that tells a back-end the same as the code does.
func TestStatusOfEveryCode(t *testing.T) {
	for _, code := range relay.Codes() {
		status := statusOf(code)
		again := status == http.StatusTooManyRequests || status >= 500 || status == http.StatusRequestTimeout
		switch code.Retry() {
		case relay.Later, relay.Elsewhere:
			if !again {
				t.Errorf("%v, to be repeated, has status %d", code, status)
			}
		case relay.AfterToken:
			if status != http.StatusUnauthorized {
				t.Errorf("%v has status %d", code, status)
			}
		case relay.Final:
			if again && code != relay.TooManySubscriptions && code != relay.Cancelled {
				t.Errorf("%v, final, has status %d", code, status)
			}
		}
	}
	if statusOf(999) != http.StatusServiceUnavailable {
		t.Error("a code of a newer node")
	}
}

func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		end          relay.End
		header, body string
	}{
		{relay.End{Code: relay.PublishRate, RetryAfter: 1200 * time.Millisecond}, "2", `"retry_after":1.2`},
		{relay.End{Code: relay.PublishRate, RetryAfter: time.Microsecond}, "1", `"retry_after":0.001`},
		{relay.End{Code: relay.Unavailable}, "1", `"retry_after":1`},
	} {
		w := httptest.NewRecorder()
		fail(w, c.end)
		if got := w.Header().Get("Retry-After"); got != c.header || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%+v: Retry-After %q, %s", c.end, got, w.Body)
		}
	}
}

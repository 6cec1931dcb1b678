package edge

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/meridian-relay/meridian/internal/web"
	"github.com/meridian-relay/meridian/relay"
)

// A problem is a problem document (RFC 9457). Code and RetryAfter are ours.
type problem struct {
	Type   string `json:"type"` // a URL that ends in the code
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	failure
}

// A failure says why a request, or one message of it, was refused.
type failure struct {
	Code       string  `json:"code"`                  // the protocol's name for it
	RetryAfter float64 `json:"retry_after,omitempty"` // seconds
}

const problemTypes = "https://github.com/meridian-relay/meridian/blob/main/docs/protocol.md#"

// later is when to repeat what can be repeated later, if nobody said when.
const later = time.Second

func failureOf(end relay.End) failure {
	retry := end.RetryAfter
	if retry == 0 && end.Code.Retry() == relay.Later {
		retry = later
	}
	return failure{Code: end.Code.String(), RetryAfter: math.Ceil(retry.Seconds()*1000) / 1000}
}

// statusOf returns the HTTP status that stands for a code.
func statusOf(code relay.Code) int {
	switch code {
	case relay.Done:
		return http.StatusOK
	case relay.Protocol, relay.Unsupported, relay.BadRequest, relay.BadChannel:
		return http.StatusBadRequest
	case relay.TooLarge:
		return http.StatusRequestEntityTooLarge
	case relay.Unauthorized, relay.TokenExpired, relay.Revoked:
		return http.StatusUnauthorized
	case relay.Forbidden, relay.OriginRefused:
		return http.StatusForbidden
	case relay.UnknownNamespace:
		return http.StatusNotFound
	case relay.HelloTimeout, relay.SlowReader:
		return http.StatusRequestTimeout
	case relay.OutOfOrder, relay.TooOld, relay.Conflict, relay.Voided:
		return http.StatusConflict
	case relay.PublishRate, relay.ByteRate, relay.RequestRate,
		relay.TooManySubscriptions, relay.TooManySessions, relay.TooManyConnections:
		return http.StatusTooManyRequests
	case relay.Internal:
		return http.StatusInternalServerError
	}
	// The way to the home: another try may find it open.
	return http.StatusServiceUnavailable
}

// fail answers with the problem document of end.
func fail(w http.ResponseWriter, end relay.End) {
	failStatus(w, statusOf(end.Code), end)
}

// failStatus is fail, for conditions of HTTP that have no code of their own.
func failStatus(w http.ResponseWriter, status int, end relay.End) {
	p := problem{
		Type:    problemTypes + end.Code.String(),
		Title:   http.StatusText(status),
		Status:  status,
		Detail:  end.Detail,
		failure: failureOf(end),
	}
	h := w.Header()
	switch status {
	case http.StatusUnauthorized: // RFC 6750, section 3
		h.Set("WWW-Authenticate", `Bearer realm="meridian", error="invalid_token"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(max(p.RetryAfter, 1)))))
	}
	web.Reply(w, status, web.TypeProblem, p)
}

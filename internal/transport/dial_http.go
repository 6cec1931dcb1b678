package transport

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// HTTP3 makes requests over HTTP/3, with the trust and on the socket of the sessions. It shares
// no connection with them, and ends with the Dialer.
func (d *Dialer) HTTP3() http.RoundTripper { return d.requests }

func (d *Dialer) newRequests() *http3.Transport {
	return &http3.Transport{
		MaxResponseHeaderBytes: maxHeader,
		Dial: func(ctx context.Context, addr string, _ *tls.Config, _ *quic.Config) (*quic.Conn, error) {
			return d.dial(ctx, addr, http3.NextProtoH3, d.quic(0, httpUni))
		},
	}
}

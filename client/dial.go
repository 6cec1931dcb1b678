package client

import (
	"net/url"

	"github.com/meridian-relay/meridian/relay"
)

const (
	sessionPath     = "/v1/session"
	maxAlternatives = 8
)

// sessionURL returns where an edge takes sessions over carrier k.
func sessionURL(base string, k relay.Carrier) string {
	u, err := url.Parse(base)
	if err != nil {
		return base // checked at construction; the dial says what is wrong
	}
	if k == relay.WebSocket {
		u.Scheme = map[string]string{"https": "wss", "http": "ws"}[u.Scheme]
	}
	u.Path = sessionPath
	return u.String()
}

// usable returns those alternatives of a GoAway that lead where the client may go: no edge can
// send it to one without TLS.
func usable(base string, alternatives []string) []string {
	from, err := url.Parse(base)
	if err != nil {
		return nil
	}
	var list []string
	for _, a := range alternatives {
		u, err := url.Parse(a)
		if err != nil || u.Host == "" || u.Scheme != from.Scheme || u.User != nil {
			continue
		}
		if list = append(list, u.Scheme+"://"+u.Host); len(list) == maxAlternatives {
			break
		}
	}
	return list
}

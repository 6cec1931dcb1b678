package link

import "github.com/meridian-relay/meridian/relay"

// A Gate decides on the requests of one session, beyond its grant. Publish and Subscribe must
// not block; Hello may, for as long as the session may stay without a Welcome. Calls for one
// session may come from several goroutines.
type Gate interface {
	// Hello turns a token into a grant: at Hello, and again at every Refresh.
	Hello(token string) (*relay.Grant, relay.End)
	// Publish admits one publish of so many bytes of body; Done: go on.
	Publish(ch relay.Channel, bytes int) relay.End
	// Subscribe admits one more subscription; Done: go on, and Unsubscribe follows once.
	Subscribe(ch relay.Channel) relay.End
	Unsubscribe(ch relay.Channel)
}

// Open is the Gate of a session whose peer is trusted by its certificate: it grants what it
// holds and limits nothing.
type Open struct{ Grant *relay.Grant }

var _ Gate = Open{}

func (o Open) Hello(string) (*relay.Grant, relay.End) { return o.Grant, relay.End{} }
func (o Open) Publish(relay.Channel, int) relay.End   { return relay.End{} }
func (o Open) Subscribe(relay.Channel) relay.End      { return relay.End{} }
func (o Open) Unsubscribe(relay.Channel)              {}

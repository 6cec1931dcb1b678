package config

import (
	"time"
)

// Edge is the configuration of `meridian serve edge`.
type Edge struct {
	Name         string        `key:"name"`   // shown to clients and in metrics; empty: the host's name
	Region       string        `key:"region"` // where this edge runs
	Listen       string        `key:"listen"` // UDP and TCP, HOST:PORT
	HTTP         string        `key:"http"`   // plain HTTP and WebSocket, loopback only; empty: none
	Ops          string        `key:"ops"`    // health, metrics, profiles; empty: none
	Grace        time.Duration `key:"grace"`  // the longest that a drain takes
	Log          Log           `key:"log"`
	TLS          KeyPair       `key:"tls"`
	QUICKeys     string        `key:"quic_keys"` // file of the keys that outlive a restart; made if missing; empty: new keys each time
	Tokens       Tokens        `key:"tokens"`
	Origins      []string      `key:"origins"`      // pages that may connect, as scheme://host[:port]; * allows all
	Alternatives []string      `key:"alternatives"` // URLs of other edges, told to sessions when this one drains
	Limits       Limits        `key:"limits"`
	Hub          Hub           `key:"hub"`
	Upstream     Upstream      `key:"upstream"`
	Peers        Peers         `key:"peers"`
	// Namespaces of an upstream of kind memory.
	Namespaces map[string]Namespace `key:"namespaces"`
}

// Log is about what a process writes on stderr.
type Log struct {
	Level  string `key:"level"`  // debug, info, warn or error
	Format string `key:"format"` // text or json
}

// KeyPair is a certificate chain and its key, files in PEM.
type KeyPair struct {
	Cert string `key:"cert"`
	Key  string `key:"key"`
}

// MutualTLS is how processes of a fleet know one another, files in PEM.
type MutualTLS struct {
	CA   string `key:"ca"`
	Cert string `key:"cert"`
	Key  string `key:"key"`
}

// Tokens says whose tokens are accepted.
type Tokens struct {
	Audience string   `key:"audience"`
	Issuers  []Issuer `key:"issuers"`
}

// An Issuer signs tokens.
type Issuer struct {
	Issuer string `key:"issuer"` // the claim iss
	JWKS   string `key:"jwks"`   // its public keys: a file, or an https URL
}

// Limits bound what clients take. 0: the default; -1: no limit, but payload and unanswered always
// have one.
type Limits struct {
	Payload    Bytes `key:"payload"`    // of one message; at most 1MiB
	Unanswered Bytes `key:"unanswered"` // publishes without an answer, of one session
	Sessions   int   `key:"sessions"`   // of this edge
	Session    Scope `key:"session"`    // of each session
	Subject    Scope `key:"subject"`    // of all sessions of one subject together
	Address    Scope `key:"address"`    // of all sessions from one IPv4 address or IPv6 /64
}

// A Scope is what one session, subject or address may have.
type Scope struct {
	Sessions      int `key:"sessions"` // without meaning for a session
	Subscriptions int `key:"subscriptions"`
	// New subscriptions and pages of history; as many as Subscriptions may come at once.
	SubscribesPerSecond float64 `key:"subscribes_per_second"`
	PublishesPerSecond  float64 `key:"publishes_per_second"`
	BytesPerSecond      Bytes   `key:"bytes_per_second"` // published
}

// Hub bounds the memory of recent messages.
type Hub struct {
	Ring   Bytes         `key:"ring"`   // per channel
	Budget Bytes         `key:"budget"` // all rings
	Linger time.Duration `key:"linger"` // how long a channel that nobody reads is kept
}

// Upstream is where channels have their home.
type Upstream struct {
	Kind string `key:"kind"` // memory: in this process; nodes: at Nodes
	// Nodes are addresses HOST:PORT that speak QUIC with mutual TLS.
	Nodes []string  `key:"nodes"`
	Links int       `key:"links"` // sessions to the nodes
	TLS   MutualTLS `key:"tls"`
}

// Peers offers this process's channels to other edges, over QUIC with mutual TLS.
type Peers struct {
	Listen string    `key:"listen"` // UDP, HOST:PORT; empty: not offered
	TLS    MutualTLS `key:"tls"`
}

// Namespace is a policy for channels.
type Namespace struct {
	Age         Age           `key:"age"`          // of the oldest message kept, or forever; 0: 10m
	Messages    int64         `key:"messages"`     // kept per channel; 0: any number
	Bytes       Bytes         `key:"bytes"`        // kept per channel; 0: 64MiB
	Keyed       bool          `key:"keyed"`        // keep the newest of each key beyond age and messages
	Payload     Bytes         `key:"payload"`      // of one message; 0: 64KiB
	ForgetAfter time.Duration `key:"forget_after"` // a channel without messages and producers; 0: 1h
	// Where it is kept, by nodes: region (also where empty), global or ephemeral; in which region;
	// and in which others a copy without a vote is.
	Class    string   `key:"class"`
	Home     string   `key:"home"`
	Learners []string `key:"learners"`
}

// Age is a time, or forever, which is negative.
type Age time.Duration

const forever = "forever"

func (a Age) String() string {
	if a < 0 {
		return forever
	}
	return time.Duration(a).String()
}

// DefaultEdge returns the defaults.
func DefaultEdge() Edge {
	return Edge{
		Listen: "0.0.0.0:4433", Ops: "127.0.0.1:9090", Grace: 10 * time.Second, Region: "local",
		Log:      Log{Level: "info", Format: "text"},
		Tokens:   Tokens{Audience: "meridian"},
		Limits:   DefaultLimits(),
		Hub:      Hub{Ring: 1 << 20, Budget: 256 << 20, Linger: 10 * time.Second},
		Upstream: Upstream{Kind: "memory", Links: 4},
	}
}

// DefaultLimits returns the limits' defaults.
func DefaultLimits() Limits {
	return Limits{
		Payload: 64 << 10, Unanswered: 1 << 20, Sessions: 100_000,
		Session: Scope{Subscriptions: 1000, SubscribesPerSecond: 100, PublishesPerSecond: 10_000, BytesPerSecond: 16 << 20},
		Subject: Scope{Sessions: 10_000, Subscriptions: 100_000, SubscribesPerSecond: 5000, PublishesPerSecond: 20_000, BytesPerSecond: 32 << 20},
		Address: Scope{Sessions: 2000, Subscriptions: 200_000, SubscribesPerSecond: 20_000, PublishesPerSecond: 50_000, BytesPerSecond: 64 << 20},
	}
}

// Dev is the configuration of `meridian dev`.
type Dev struct {
	Data       string               `key:"data"`  // folder of logs and states; empty: a temporary one
	Nodes      int                  `key:"nodes"` // nodes in this process
	Listen     string               `key:"listen"`
	HTTP       string               `key:"http"`
	Ops        string               `key:"ops"`
	For        time.Duration        `key:"for"` // end after so long; 0: never
	Grace      time.Duration        `key:"grace"`
	Log        Log                  `key:"log"`
	Limits     Limits               `key:"limits"`
	Hub        Hub                  `key:"hub"`
	Namespaces map[string]Namespace `key:"namespaces"`
}

// unlimited is for one machine, whose only user need not be protected from himself.
var unlimited = Scope{Sessions: -1, Subscriptions: -1, SubscribesPerSecond: -1, PublishesPerSecond: -1, BytesPerSecond: -1}

// DefaultDev returns the defaults.
func DefaultDev() Dev {
	return Dev{
		Nodes: 1, Listen: "127.0.0.1:4433", HTTP: "127.0.0.1:8080", Ops: "127.0.0.1:9090", Grace: 2 * time.Second,
		Log:        Log{Level: "info", Format: "text"},
		Limits:     Limits{Payload: 64 << 10, Unanswered: 1 << 20, Sessions: -1, Session: unlimited, Subject: unlimited, Address: unlimited},
		Hub:        Hub{Ring: 1 << 20, Budget: 256 << 20, Linger: 10 * time.Second},
		Namespaces: map[string]Namespace{"demo": {Age: Age(24 * time.Hour), Messages: 2_000_000, Bytes: 1 << 30}},
	}
}

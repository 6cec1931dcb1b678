package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/meridian-relay/meridian/internal/bench/load"
	"github.com/meridian-relay/meridian/internal/bench/meter"
)

// A role is what a child process is.
type role string

const (
	roleBaseline role = "baseline" // the baseline's server
	roleMeridian role = "meridian" // a relay: home, hub and edge
	roleLoad     role = "load"     // clients
	roleNode     role = "node"     // a durable node, and publishers on it
	roleStream   role = "stream"   // bare QUIC streams
)

// A request is one line to a child; it answers each with one line, in order.
type request struct {
	Do       string // a method, below
	Listen   *listen
	Load     *load.Config
	Source   *load.Source
	Sessions int
	Channels []string
	Own      bool   // subscriptions on streams of their own
	On       bool   // pause or go on
	Collect  bool   // garbage, before usage is taken
	File     string // of a profile; empty: end it
	Node     *nodeSetup
	Drive    *drive
	Via      *ready // drive or read through a session to it; nil: what runs here
	Read     *readPlan
}

// listen says how a server is set up.
type listen struct {
	FlowControl bool
	Retain      uint64 // what the relay's home keeps of a channel, bytes
}

// An answer is one line from a child.
type answer struct {
	Error string `json:",omitempty"`
	Ready *ready `json:",omitempty"`
	Usage *meter.Usage
	Count *load.Count
	Drove *driven   `json:",omitempty"`
	Read  *readDone `json:",omitempty"`
	Disk  *diskUse  `json:",omitempty"`
}

// ready says where a server can be reached.
type ready struct {
	Addr  string
	Path  string
	Token string
	// Of a node: its authority, and a certificate for an edge, in PEM.
	CA, Cert, Key []byte
}

// errUnknown: a child got a request that its role does not have.
var errUnknown = errors.New("unknown request")

// A child handles requests in its process.
type child interface {
	handle(ctx context.Context, r request) (answer, error)
	close()
}

// Child is the body of a child process: it serves requests from in until that ends. The role
// is one that Run gave to the process that it started.
func Child(ctx context.Context, name string, in io.Reader, out io.Writer) error {
	var c child
	switch role(name) {
	case roleBaseline:
		c = &baselineServer{}
	case roleMeridian:
		c = &meridianServer{}
	case roleLoad:
		c = &clients{}
	case roleNode:
		c = &nodeServer{}
	case roleStream:
		c = &streamServer{}
	default:
		return fmt.Errorf("bench: role %q; roles: %s, %s, %s, %s, %s", name,
			roleBaseline, roleMeridian, roleLoad, roleNode, roleStream)
	}
	defer c.close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	w := json.NewEncoder(out)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("bench: request: %w", err)
		}
		a, err := c.handle(ctx, r)
		if err != nil {
			a.Error = err.Error()
		}
		if err := w.Encode(a); err != nil {
			return fmt.Errorf("bench: answer: %w", err)
		}
	}
	return lines.Err()
}

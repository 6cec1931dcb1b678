// Package pki owns the names in a fleet's certificates, and a small authority for fleets that have
// none.
//
// A process is named as SPIFFE does, by a URI in its certificate's subject alternative names:
//
//	spiffe://FLEET/node/NAME
//	spiffe://FLEET/edge/NAME
//
// so that SPIRE, step-ca or Vault can take the authority's place. A node's certificate without any
// spiffe URI names it by a DNS name that is the node's name.
package pki

import (
	"fmt"
	"strings"
)

// A Role is what a process is to its fleet.
type Role string

// The roles.
const (
	Node Role = "node"
	Edge Role = "edge"
)

// A Name is a process's within a fleet.
type Name struct {
	Fleet string // lower-case letters, digits, dots, dashes and underscores; at most 255
	Role  Role
	Name  string // letters, digits, dots, dashes and underscores; at most 63
}

const scheme = "spiffe://"

// String returns the URI.
func (n Name) String() string { return scheme + n.Fleet + "/" + string(n.Role) + "/" + n.Name }

// Check says what is wrong with a name.
func (n Name) Check() error {
	if err := CheckFleet(n.Fleet); err != nil {
		return err
	}
	if n.Role != Node && n.Role != Edge {
		return fmt.Errorf("role %q: roles are node and edge", n.Role)
	}
	if len(n.Name) == 0 || len(n.Name) > 63 || !only(n.Name, true) || strings.Trim(n.Name, ".") == "" {
		return fmt.Errorf("name %q: write 1 to 63 letters, digits, dots, dashes and underscores, such as n1", n.Name)
	}
	return nil
}

// CheckFleet says what is wrong with a fleet's name.
func CheckFleet(fleet string) error {
	if len(fleet) == 0 || len(fleet) > 255 || !only(fleet, false) || strings.Trim(fleet, ".") == "" {
		return fmt.Errorf("fleet %q: write 1 to 255 lower-case letters, digits, dots, dashes and underscores, such as prod", fleet)
	}
	return nil
}

func only(s string, upper bool) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		case upper && 'A' <= c && c <= 'Z':
		default:
			return false
		}
	}
	return true
}

// Parse reads a URI; false: it names no process of a fleet.
func Parse(uri string) (Name, bool) {
	rest, ok := strings.CutPrefix(uri, scheme)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return Name{}, false
	}
	n := Name{parts[0], Role(parts[1]), parts[2]}
	return n, n.Check() == nil
}

// IsNode reports whether a certificate with these URI and DNS names is a node's. Where there is a
// spiffe URI, DNS names mean nothing: an edge may well be reached under any.
func IsNode(names []string, fleet, node string) bool {
	named := false
	for _, name := range names {
		if !strings.HasPrefix(name, scheme) {
			named = named || name == node
			continue
		}
		n, ok := Parse(name)
		return ok && n == Name{fleet, Node, node} // SPIFFE allows one
	}
	return named
}

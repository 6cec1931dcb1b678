// Package web owns what the HTTP servers of a process have in common: how they answer in JSON, and
// whom they refuse on loopback.
package web

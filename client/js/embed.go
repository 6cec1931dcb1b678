// Package js serves what browsers need of the JavaScript SDK to pages on this machine: its
// bundle and its examples, both held by the binary, and what an example connects with.
package js

import "embed"

//go:embed bundle/meridian.min.js examples
var files embed.FS

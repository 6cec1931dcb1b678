// Package house holds the rules of the repository that a test can check: who imports whom, and
// how long a file may be.
package house

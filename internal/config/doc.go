// Package config owns what a person sets: configuration from a file, the environment and flags,
// and the contexts that say where a client command connects.
package config

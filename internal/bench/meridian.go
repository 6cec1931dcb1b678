package bench

import (
	"context"
	"errors"
)

// meridianServer is the child that runs a relay: a home in memory, a hub and an edge.
type meridianServer struct{}

func (m *meridianServer) handle(context.Context, request) (answer, error) {
	return answer{}, errors.New("not yet")
}
func (m *meridianServer) close() {}
